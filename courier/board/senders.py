"""The senders on the board: one role, or with routes one role for each route in addition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from courier.process.scoreboard import Scoreboard, Slot

SENDER: Final = "sender"
"""The role of the senders that deliver to ``--recipient-url``."""


def sender_roles(board: Scoreboard) -> Sequence[str]:
    """Return the roles of senders: first that of ``--recipient-url``, then those of the routes."""
    return board.roles_of(SENDER)


def sender_slots(board: Scoreboard) -> Sequence[Slot]:
    """Return the slots of all senders, including empty ones."""
    return [slot for role in sender_roles(board) for slot in board.slots(role)]


def beating_senders(board: Scoreboard, now: float) -> list[Slot]:
    """Return the slots of all senders that are ready or draining and not silent at ``now``, monotonic seconds."""
    return [slot for role in sender_roles(board) for slot in board.beating(role, now)]
