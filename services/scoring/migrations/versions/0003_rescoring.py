"""Leads by the agreement that judged them last, so that those of another than the one in force are found."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Writes all rows anew, some seconds a million. The code before knows neither column nor index."""
    op.execute("""
        ALTER TABLE scoring.leads ADD COLUMN tenant text NOT NULL
        GENERATED ALWAYS AS (regexp_replace(lead, ':?[^:]*$', '')) STORED
    """)
    op.execute("CREATE INDEX leads_by_agreement ON scoring.leads (tenant, agreement, lead) WHERE agreement IS NOT NULL")
    op.execute("COMMENT ON COLUMN scoring.leads.grade IS 'with fit, interest, version: as last published'")
    op.execute("COMMENT ON COLUMN scoring.leads.agreement IS 'judged it last; null: there is nothing to judge'")


def downgrade() -> None:
    op.execute("DROP INDEX scoring.leads_by_agreement")
    op.execute("ALTER TABLE scoring.leads DROP COLUMN tenant")
    op.execute("COMMENT ON COLUMN scoring.leads.grade IS 'with fit, interest, version, agreement: as last published'")
    op.execute("COMMENT ON COLUMN scoring.leads.agreement IS NULL")
