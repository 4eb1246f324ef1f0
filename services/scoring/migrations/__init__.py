"""The history of the scoring schema."""
