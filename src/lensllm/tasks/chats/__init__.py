"""Conversations as each model reads them: its template, which tokens are learned, and what is counted."""
