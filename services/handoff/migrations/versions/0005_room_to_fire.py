"""Room on a page for a change of every lead on it; the timeline keeps what was told as it was told."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Clocks that are due at once are of leads that came at once, and those share their pages.
    op.execute("ALTER TABLE handoff.leads SET (fillfactor = 50)")
    op.execute("ALTER TABLE handoff.timeline ALTER COLUMN body TYPE json")  # nobody looks for what is inside


def downgrade() -> None:
    op.execute("ALTER TABLE handoff.timeline ALTER COLUMN body TYPE jsonb")
    op.execute("ALTER TABLE handoff.leads SET (fillfactor = 70)")
