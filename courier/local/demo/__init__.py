"""The demo: the whole pipeline with its own queue and recipient, and an account of every message."""
