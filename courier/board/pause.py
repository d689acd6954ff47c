"""The pause that a person asked for, for its readers; :mod:`courier.process.pause` has the rules."""

from __future__ import annotations

from typing import Any

from courier.process.pause import Pause, is_paused, read_pause, write_pause
from courier.process.scoreboard import Scoreboard

__all__ = ["Pause", "is_paused", "pause_status", "read_pause", "write_pause"]


def pause_status(board: Scoreboard, now: float) -> dict[str, Any] | None:
    """Return the pause as answers show it at ``now`` (monotonic seconds), ``None`` without one.

    ``since`` is when it began, in Unix time; ``seconds`` is how long it has lasted.
    """
    pause = read_pause(board)
    if pause is None:
        return None
    seconds = round(now - pause.paused_at, 3)
    return {"by": pause.by, "reason": pause.reason, "since": pause.at_ms / 1000, "seconds": seconds}
