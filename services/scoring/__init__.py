"""scoring: what each lead is worth, by fit and interest, and why."""
