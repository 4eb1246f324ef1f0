"""The agreement: its model, its language, loading and checking."""

from shared.agreement.load import Agreements, check, load
from shared.agreement.model import Agreement

__all__ = ["Agreement", "Agreements", "check", "load"]
