"""The inbox and outbox, and what is known of each lead."""

from __future__ import annotations

from alembic import op

from shared.database import create_inbox_and_outbox

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_inbox_and_outbox(op, "scoring")  # type: ignore[arg-type]
    op.execute("""
        CREATE TABLE scoring.leads (
            lead text PRIMARY KEY,
            state bytea,
            grade text,
            fit double precision,
            interest double precision,
            version bigint,
            agreement text,
            updated_at timestamptz NOT NULL
        ) WITH (fillfactor = 70)
    """)
    op.execute(
        "COMMENT ON COLUMN scoring.leads.state IS 'MessagePack of a Lead, PERSONAL; null: a row made to wait at'"
    )
    op.execute("COMMENT ON COLUMN scoring.leads.grade IS 'with fit, interest, version, agreement: as last published'")


def downgrade() -> None:
    op.execute("DROP TABLE scoring.leads, scoring.inbox, scoring.outbox")
