"""Leaving in time: what the platform announces about the end of this machine or task, and what it wants to hear."""
