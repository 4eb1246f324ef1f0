"""What counts, as pure functions of (terms, state, message)."""
