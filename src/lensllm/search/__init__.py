"""Which run next, within which budget, and who executes it."""
