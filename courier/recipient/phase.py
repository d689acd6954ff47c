"""The phases of the recipient: what each lets a sender do."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """What a sender may do now.

    - ``UNTRIED``: the program has just started, and nothing has been sent yet.
    - ``STARTING``: the recipient is still unknown, so there is one delivery at a time.
    - ``DELIVERING``: the breaker is closed.
    - ``PAUSED``: the recipient asked for a long pause.
    - ``STOPPED``: the breaker is open, or it is half-open and the recipient asked for a long pause.
    - ``PROBING``: the breaker is half-open, so one sender sends single messages.

    - ``delivers``: the phase is DELIVERING. Reading this costs less than comparing the phase with ``Phase.DELIVERING``.
    - ``is_start``: the recipient is unknown.
    - ``is_shut``: the sender sends nothing, and keeps its messages.
    - ``is_outage``: the breaker has opened and hasn't closed since, so receiving is stopped.
    """

    UNTRIED = "untried"
    STARTING = "starting"
    DELIVERING = "delivering"
    PAUSED = "paused"
    STOPPED = "stopped"
    PROBING = "probing"

    def __init__(self, name: str) -> None:
        self.delivers = name == "delivering"
        self.is_start = name in ("untried", "starting")
        self.is_shut = name in ("paused", "stopped")
        self.is_outage = name in ("stopped", "probing")
