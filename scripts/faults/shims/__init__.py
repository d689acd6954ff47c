"""What stands between a program and its system: C libraries that make a disk fail and a clock jump."""
