"""What the commands that show a running Courier share: a client of the API, and texts that any terminal can take.

It imports little, so that a container may run ``courier status --check`` every few seconds.
"""
