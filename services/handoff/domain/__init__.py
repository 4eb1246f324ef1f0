"""The rules of hand-off: pure functions of lead, message, agreement and time."""
