"""Every version of an agreement that this service acted under; open clocks by tenant and version."""

from __future__ import annotations

from alembic import op

from shared.database import create_agreements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_agreements(op, "handoff")  # type: ignore[arg-type]
    op.execute("CREATE INDEX leads_by_agreement ON handoff.leads (tenant, agreement, lead) WHERE agreement <> ''")
    op.execute("DROP INDEX handoff.leads_agreement")


def downgrade() -> None:
    op.execute("CREATE INDEX leads_agreement ON handoff.leads (agreement, lead) WHERE agreement <> ''")
    op.execute("DROP INDEX handoff.leads_by_agreement")
    op.execute("DROP TABLE handoff.agreements")
