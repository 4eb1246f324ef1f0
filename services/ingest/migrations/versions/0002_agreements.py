"""Every version of an agreement that this service acted under."""

from __future__ import annotations

from alembic import op

from shared.database import create_agreements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_agreements(op, "ingest")  # type: ignore[arg-type]


def downgrade() -> None:
    op.execute("DROP TABLE ingest.agreements")
