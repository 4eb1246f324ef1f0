"""What goals are held against: stage entries by day, deals, and Marketing's commitments as they ended."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _stage_days()
    _fill_from_leads()
    _deals()
    _commitments()


def _stage_days() -> None:
    op.execute("""
        CREATE TABLE kpi.stage_days (
            tenant text NOT NULL,
            day date NOT NULL,
            stage text NOT NULL,
            source text NOT NULL,
            grade text NOT NULL,
            entries bigint NOT NULL,
            moved_on bigint NOT NULL,
            PRIMARY KEY (tenant, day, stage, source, grade)
        ) WITH (fillfactor = 50)
    """)
    op.execute("COMMENT ON COLUMN kpi.stage_days.day IS 'in the time zone of the agreement that held then'")


def _deals() -> None:
    op.execute("""
        CREATE TABLE kpi.deals (
            tenant text NOT NULL,
            deal text NOT NULL,
            at timestamptz NOT NULL,
            day date NOT NULL,
            won boolean NOT NULL,
            amount numeric,
            currency text NOT NULL,
            PRIMARY KEY (tenant, deal)
        )
    """)
    op.execute("CREATE INDEX deals_won ON kpi.deals (tenant, day) WHERE won")


def _commitments() -> None:
    op.execute("""
        CREATE TABLE kpi.commitments (
            tenant text NOT NULL,
            goal text NOT NULL,
            commitment text NOT NULL,
            first date NOT NULL,
            last date NOT NULL,
            stage text NOT NULL,
            grades text[] NOT NULL,
            owed bigint NOT NULL,
            counted bigint NOT NULL,
            outcome text NOT NULL,
            agreement text NOT NULL,
            judged_at timestamptz NOT NULL,
            corrected_at timestamptz,
            PRIMARY KEY (tenant, goal, commitment, first, last)
        )
    """)
    op.execute("CREATE TABLE kpi.judged_until (tenant text PRIMARY KEY, until timestamptz NOT NULL)")
    op.execute("COMMENT ON COLUMN kpi.commitments.tenant IS 'whose agreement it was; empty: the one for all'")


def _fill_from_leads() -> None:
    """What is known of the leads that there are already: by days of UTC, and without the grades."""
    op.execute("""
        INSERT INTO kpi.stage_days (tenant, day, stage, source, grade, entries, moved_on)
        SELECT regexp_replace(lead, ':[^:]*$', ''), CAST(reached AT TIME ZONE 'UTC' AS date), stage, source, '',
               count(*), count(*) FILTER (WHERE jsonb_exists(stages, later))
        FROM (
            SELECT lead, stages, source, one.key AS stage, CAST(one.value AS timestamptz) AS reached,
                   CASE one.key WHEN 'lead' THEN 'mql' WHEN 'mql' THEN 'sql' WHEN 'sql' THEN 'customer' ELSE '' END
                   AS later
            FROM (
                SELECT lead, said -> 'stages' AS stages, coalesce(said ->> 'source', 'unknown') AS source
                FROM (
                    SELECT lead, CAST(convert_from(state, 'UTF8') AS jsonb) AS said
                    FROM kpi.leads WHERE state IS NOT NULL
                ) AS decoded
            ) AS known
            CROSS JOIN LATERAL jsonb_each_text(stages) AS one
        ) AS entered
        GROUP BY 1, 2, 3, 4
    """)


def downgrade() -> None:
    op.execute("DROP TABLE kpi.judged_until, kpi.commitments, kpi.deals, kpi.stage_days")
