"""Every measurement behind a claim, by subject, its numbers beside the script that made them: `python -m evidence`."""
