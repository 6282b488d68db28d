"""Score curves: public ones, and how well scores are forecast."""
