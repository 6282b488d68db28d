"""How jobs are handed out: what an executor adds to them, and what breaks first."""
