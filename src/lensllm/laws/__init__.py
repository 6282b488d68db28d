"""Parametric learning curves and their fits."""
