"""The processes and their connections: supervisor, workers, channels, scoreboard. Independent of SQS and HTTP."""
