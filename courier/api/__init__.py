"""The API process: it tells how the others are, and reads nothing but the scoreboard.

Nothing here is on the way of a message. Whatever becomes of this process, the others go on.
"""
