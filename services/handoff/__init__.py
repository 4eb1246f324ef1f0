"""The life of a lead between the two teams: hand-off, clocks, attempts, return."""
