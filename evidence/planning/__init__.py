"""How right the plans are, and all rungs of a ladder from one training run."""
