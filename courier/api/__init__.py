"""The API: status, readiness and metrics over HTTP, read from the scoreboard alone.

No message passes through this process. If it fails, the others carry on.
"""
