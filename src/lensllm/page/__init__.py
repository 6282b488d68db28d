"""A live page of a selection, served to this machine alone."""
