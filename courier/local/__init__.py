"""Stand-ins for the outside world: the virtual queue, the harness, the demo, and their HTTP server."""
