"""The rules of scoring: pure functions of lead, agreement and time."""
