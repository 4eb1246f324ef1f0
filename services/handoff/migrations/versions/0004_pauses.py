"""When a lead's pause ends by itself, where no clock of its own tells that."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE handoff.leads ADD COLUMN wakes_at timestamptz")
    op.execute("CREATE INDEX leads_wakes ON handoff.leads (wakes_at) WHERE wakes_at IS NOT NULL")
    op.execute("COMMENT ON COLUMN handoff.leads.wakes_at IS 'the end of a pause that holds no clock'")


def downgrade() -> None:
    op.execute("DROP INDEX handoff.leads_wakes")
    op.execute("ALTER TABLE handoff.leads DROP COLUMN wakes_at")
