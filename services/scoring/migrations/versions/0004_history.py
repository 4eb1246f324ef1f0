"""The history of each lead's scores."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The code before writes none and reads none: what it tells meanwhile is missing in the history."""
    op.execute("""
        CREATE TABLE scoring.history (
            lead text NOT NULL,
            seq bigint GENERATED ALWAYS AS IDENTITY,
            former text,
            entry bytea NOT NULL,
            PRIMARY KEY (lead, seq)
        )
    """)
    op.execute("COMMENT ON TABLE scoring.history IS 'each told score of a lead, the newest 200 or a few more'")
    op.execute("COMMENT ON COLUMN scoring.history.seq IS 'the order in which the scores of a lead were told'")
    op.execute("COMMENT ON COLUMN scoring.history.former IS 'the lead that it was told of, since merged into this one'")
    op.execute("COMMENT ON COLUMN scoring.history.entry IS 'MessagePack of an Entry'")


def downgrade() -> None:
    op.execute("DROP TABLE scoring.history")
