"""Curves -> Forecast, one method a file, named as in the literature."""
