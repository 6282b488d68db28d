"""The bound on the test loss, the curvature it is made of, and the phases of fine-tuning."""
