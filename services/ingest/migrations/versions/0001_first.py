"""The inbox and outbox."""

from __future__ import annotations

from alembic import op

from shared.database import create_inbox_and_outbox

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_inbox_and_outbox(op, "ingest")  # type: ignore[arg-type]


def downgrade() -> None:
    op.execute("DROP TABLE ingest.inbox, ingest.outbox")
