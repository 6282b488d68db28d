"""Conversations: what a real instruct model reads and learns of them."""
