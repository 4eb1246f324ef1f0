"""The inbox and outbox, leads, their clocks, the timeline, and the notifications to send."""

from __future__ import annotations

from alembic import op

from shared.database import create_inbox_and_outbox

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_inbox_and_outbox(op, "handoff")  # type: ignore[arg-type]
    _leads()
    _clocks()
    _timeline()
    _notifications()


def _leads() -> None:
    # Most changes of a lead touch no indexed column: room on the page keeps them off the indexes.
    op.execute("""
        CREATE TABLE handoff.leads (
            lead text PRIMARY KEY,
            tenant text NOT NULL DEFAULT '',
            state text NOT NULL DEFAULT 'marketing',
            team text NOT NULL DEFAULT '',
            owner text NOT NULL DEFAULT '',
            priority text NOT NULL DEFAULT '',
            version bigint NOT NULL DEFAULT 0,
            due_at timestamptz,
            gone boolean NOT NULL DEFAULT false,
            document bytea,
            updated_at timestamptz
        ) WITH (fillfactor = 70)
    """)
    op.execute("CREATE INDEX leads_state ON handoff.leads (state, lead) WHERE state <> 'marketing'")
    op.execute("CREATE INDEX leads_team ON handoff.leads (team, lead) WHERE team <> ''")
    op.execute("CREATE INDEX leads_owner ON handoff.leads (owner, lead) WHERE owner <> ''")
    op.execute("CREATE INDEX leads_due ON handoff.leads (due_at) WHERE due_at IS NOT NULL")
    op.execute(
        "COMMENT ON COLUMN handoff.leads.document IS 'JSON of a Lead; null: a lead seen, of which nothing counts'"
    )


def _clocks() -> None:
    op.execute("""
        CREATE TABLE handoff.clocks (
            id text PRIMARY KEY,
            lead text NOT NULL,
            kind text NOT NULL,
            team text NOT NULL,
            priority text NOT NULL,
            started_at timestamptz NOT NULL,
            due_at timestamptz NOT NULL,
            next_at timestamptz,
            outcome text,
            ended_at timestamptz,
            settled_at timestamptz
        )
    """)
    op.execute("CREATE INDEX clocks_next ON handoff.clocks (next_at) WHERE next_at IS NOT NULL")
    op.execute("COMMENT ON COLUMN handoff.clocks.next_at IS 'the next warning or the end; null once ended'")


def _timeline() -> None:
    op.execute("""
        CREATE TABLE handoff.timeline (
            lead text NOT NULL,
            version bigint NOT NULL,
            at timestamptz NOT NULL,
            type text NOT NULL,
            body jsonb NOT NULL,
            PRIMARY KEY (lead, version)
        )
    """)
    op.execute("CREATE INDEX timeline_handoffs ON handoff.timeline (at) WHERE type = 'LeadHandedOff'")


def _notifications() -> None:
    op.execute("""
        CREATE TABLE handoff.notifications (
            id text PRIMARY KEY,
            lead text NOT NULL,
            kind text NOT NULL,
            body bytea NOT NULL,
            attempts int NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL,
            next_try_at timestamptz,
            done_at timestamptz,
            outcome text
        )
    """)
    op.execute("CREATE INDEX notifications_next ON handoff.notifications (next_try_at) WHERE next_try_at IS NOT NULL")
    op.execute("CREATE INDEX notifications_lead ON handoff.notifications (lead)")
    op.execute("COMMENT ON COLUMN handoff.notifications.next_try_at IS 'real time; null once done'")


def downgrade() -> None:
    op.execute(
        "DROP TABLE handoff.notifications, handoff.timeline, handoff.clocks, handoff.leads,"
        " handoff.outbox, handoff.inbox"
    )
