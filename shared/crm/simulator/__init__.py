"""A HubSpot to try with: CRM, webhooks, API and reps, made from a seed, with a ledger of all it said."""

from shared.crm.simulator.ledger import Account, Ledger
from shared.crm.simulator.run import SimulatorOptions, Summary, simulate

__all__ = ["Account", "Ledger", "SimulatorOptions", "Summary", "simulate"]
