"""Until when each tenant's changes in the CRM were asked for."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE ingest.reconciles (
            tenant text PRIMARY KEY,
            covered_until timestamptz NOT NULL,
            claimed_at timestamptz NOT NULL
        )
    """)
    op.execute("COMMENT ON COLUMN ingest.reconciles.covered_until IS 'what was changed before was asked for'")
    op.execute("COMMENT ON COLUMN ingest.reconciles.claimed_at IS 'when a process last began'")


def downgrade() -> None:
    op.execute("DROP TABLE ingest.reconciles")
