"""The inbox and outbox, what is known of each lead, and the tallies."""

from __future__ import annotations

from alembic import op

from shared.database import create_inbox_and_outbox

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_inbox_and_outbox(op, "kpi")  # type: ignore[arg-type]
    op.execute("CREATE TABLE kpi.leads (lead text PRIMARY KEY, state bytea)")
    op.execute("""
        CREATE TABLE kpi.tallies (
            metric text NOT NULL,
            labels text NOT NULL,
            value double precision NOT NULL,
            PRIMARY KEY (metric, labels)
        ) WITH (fillfactor = 50)
    """)
    op.execute("COMMENT ON COLUMN kpi.leads.state IS 'JSON of a LeadState; null: a lead seen, of which nothing counts'")
    op.execute("COMMENT ON COLUMN kpi.tallies.labels IS 'label values in the order of the metric''s names, JSON array'")


def downgrade() -> None:
    op.execute("DROP TABLE kpi.tallies, kpi.leads, kpi.inbox, kpi.outbox")
