"""ingest: the door, and the lookups of what the CRM only hints at."""
