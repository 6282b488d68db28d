"""Curvature, the generalization bound, the phases of fine-tuning."""
