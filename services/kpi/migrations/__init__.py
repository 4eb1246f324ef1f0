"""The history of the kpi schema."""
