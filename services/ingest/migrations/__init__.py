"""The history of the ingest schema."""
