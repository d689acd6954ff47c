"""Logging: its setup, printable lines, a stderr that never blocks, and limits on lines that recur."""
