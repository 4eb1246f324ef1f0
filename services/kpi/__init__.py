"""kpi: milestones and tallies; how the agreement is doing."""
