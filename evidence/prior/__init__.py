"""The prior beside real pools, the networks that are fitted to it, and forecasters beside each other."""
