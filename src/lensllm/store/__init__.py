"""Every run, once, durable."""
