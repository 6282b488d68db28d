"""A model and how it is tuned: specification, safe loading, features."""
