"""Alembic's entry: all services share one environment."""

from shared.database import alembic_environment

alembic_environment()
