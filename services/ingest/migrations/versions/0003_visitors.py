"""Visitors whose contact is still to be found out, and who they turned out to be."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE ingest.visitors (
            visitor text PRIMARY KEY,
            known_as text NOT NULL DEFAULT '',
            state bytea,
            due_at timestamptz NOT NULL
        ) WITH (fillfactor = 80)
    """)
    op.execute("CREATE INDEX visitors_due ON ingest.visitors (due_at)")
    op.execute("CREATE INDEX visitors_known_as ON ingest.visitors (known_as) WHERE known_as <> ''")
    op.execute(
        "COMMENT ON COLUMN ingest.visitors.state IS 'MessagePack of a Visitor, PERSONAL; null: a row made to wait at'"
    )


def downgrade() -> None:
    op.execute("DROP TABLE ingest.visitors")
