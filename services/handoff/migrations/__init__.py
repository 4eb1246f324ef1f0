"""Hand-off's schema, by alembic."""
