"""What a good choice costs in compute, and how well costs are foreseen."""
