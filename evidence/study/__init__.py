"""Our own fine-tuning curves: what is run, its tables, and what is read from them."""
