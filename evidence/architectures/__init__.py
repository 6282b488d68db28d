"""Which architectures of transformers can be candidates, and what is measured of each."""
