"""The agreement: its model, its language, loading and checking, and which one is in force."""

from shared.agreement.in_force import Agreements, InForce
from shared.agreement.load import check, load
from shared.agreement.model import Agreement

__all__ = ["Agreement", "Agreements", "InForce", "check", "load"]
