"""What is measured before training."""
