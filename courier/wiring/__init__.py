"""The wiring: from a Config to the objects that each role needs."""
