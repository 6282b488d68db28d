"""The PAC-Bayes bound, its quadrature and the phases, on real fine-tuned models."""
