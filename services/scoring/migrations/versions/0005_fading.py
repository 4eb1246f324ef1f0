"""When waiting alone next changes what was told of a lead, so that nobody has to be swept over to find out."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rewrites no row. Of the leads that are there it is not known yet: they are due now, and judged once.

    So are those that the code before writes in the meantime: it leaves the default.
    """
    op.execute("ALTER TABLE scoring.leads ADD COLUMN fades_at timestamptz DEFAULT now()")
    op.execute("""
        CREATE INDEX leads_by_fading ON scoring.leads (fades_at)
        WHERE fades_at IS NOT NULL AND agreement IS NOT NULL
    """)
    op.execute("COMMENT ON COLUMN scoring.leads.fades_at IS 'waiting alone changes then what was told; null: never'")


def downgrade() -> None:
    op.execute("DROP INDEX scoring.leads_by_fading")
    op.execute("ALTER TABLE scoring.leads DROP COLUMN fades_at")
