"""Processes and what joins them: supervisor, workers, channels, scoreboard. Knows no SQS and no HTTP."""
