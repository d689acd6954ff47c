"""The demo: the whole pipeline with a queue and a recipient of its own, and an account of every message."""
