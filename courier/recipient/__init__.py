"""Rules for the recipient: what it may be given now, and what its answers mean."""
