"""What the neural tangent kernel costs and what it brings."""
