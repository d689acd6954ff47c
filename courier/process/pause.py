"""The pause that a person asked for: since when nothing is received, by whom, and why.

The supervisor alone writes it, into its slot of the scoreboard, so it survives the replacement of every worker and ends
with the program. The recipient's own pause (Retry-After) is another one; see :mod:`courier.recipient.pause`.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

import orjson

from courier.process import scoreboard
from courier.process.notes import TEXT_BYTES
from courier.process.scoreboard import Scoreboard

PLACE: Final = 0
"""The place of the pause among the supervisor's notes."""

LONGEST_REASON: Final = 200
"""Maximum characters of a reason."""


class Pause(NamedTuple):
    """Who paused receiving, and why; ``reason`` may be empty.

    ``at_ms`` is when, in milliseconds of Unix time, and ``paused_at`` the same in monotonic seconds.
    """

    by: str
    reason: str
    at_ms: int
    paused_at: float

    def text(self) -> str:
        """Return it in words: by whom, and why."""
        return f"{self.by}: {self.reason}" if self.reason else self.by


def is_paused(board: Scoreboard) -> bool:
    """Return whether a person has paused receiving."""
    return board.supervisor.reals[scoreboard.PAUSED_AT] > 0.0


def read_pause(board: Scoreboard) -> Pause | None:
    """Return the pause; ``None`` if there is none."""
    paused_at = board.supervisor.reals[scoreboard.PAUSED_AT]
    if not paused_at:
        return None
    text = board.supervisor.notes.read(PLACE)
    if text is None:
        # It is being written at this moment.
        return Pause("unknown", "", round((time.time() - time.monotonic() + paused_at) * 1000), paused_at)
    fields: dict[str, Any] = orjson.loads(text)
    return Pause(fields["by"], fields["reason"], fields["at_ms"], paused_at)


def write_pause(board: Scoreboard, by: str, reason: str, now: float) -> Pause:
    """Pause receiving from ``now`` (monotonic seconds) on, and return the pause.

    A pause that is on already keeps its beginning, and gets the new name and reason. Raise ValueError if they are too
    long together: a name of 64 characters and a reason of LONGEST_REASON always fit.
    """
    before = read_pause(board)
    at_ms = before.at_ms if before else round(time.time() * 1000)
    text = orjson.dumps({"by": by, "reason": reason, "at_ms": at_ms})
    if len(text) > TEXT_BYTES:
        raise ValueError(f"a pause of {len(text)} bytes is longer than {TEXT_BYTES}")
    # Before the word: whoever sees the pause sees the reason.
    board.supervisor.notes.write(PLACE, text)
    paused_at = before.paused_at if before else now
    board.supervisor.reals[scoreboard.PAUSED_AT] = paused_at
    return Pause(by, reason, at_ms, paused_at)


def end_pause(board: Scoreboard) -> None:
    """Receive again."""
    board.supervisor.reals[scoreboard.PAUSED_AT] = 0.0
    board.supervisor.notes.write(PLACE, b"")
