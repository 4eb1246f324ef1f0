"""The agreement by which a lead's open clocks were set, and lists in the order in which things are due."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE handoff.leads ADD COLUMN agreement text NOT NULL DEFAULT ''")
    op.execute("CREATE INDEX leads_agreement ON handoff.leads (agreement, lead) WHERE agreement <> ''")
    op.execute("COMMENT ON COLUMN handoff.leads.agreement IS 'that set its open clocks; empty without any'")
    op.execute("DROP INDEX handoff.leads_due")
    op.execute("CREATE INDEX leads_due ON handoff.leads (due_at, lead) WHERE due_at IS NOT NULL")
    op.execute(
        "COMMENT ON COLUMN handoff.clocks.next_at IS"
        " 'the next warning, the end, an escalation or the end of a pause; null when nothing is to come'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX handoff.leads_due")
    op.execute("CREATE INDEX leads_due ON handoff.leads (due_at) WHERE due_at IS NOT NULL")
    op.execute("DROP INDEX handoff.leads_agreement")
    op.execute("ALTER TABLE handoff.leads DROP COLUMN agreement")
