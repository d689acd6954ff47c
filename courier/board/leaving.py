"""The end of this machine or task as answers show it; :mod:`courier.process.departure` has the rules."""

from __future__ import annotations

import math
from typing import Any

from courier.process import scoreboard
from courier.process.departure import NOTICES, WATCHER, WORDS_OF, departure_of
from courier.process.scoreboard import Scoreboard, Slot


def leaving_status(board: Scoreboard, now: float) -> dict[str, Any] | None:
    """Return the notice that counts at ``now`` (monotonic seconds), ``None`` without one or without a watcher.

    ``drains`` is false for one that is only shown. ``seconds_left`` is ``None`` if the platform didn't say when.
    """
    if WATCHER not in board.roles():
        return None
    (slot,) = board.slots(WATCHER)
    departure = departure_of(slot)
    kind = departure.kind if departure else _latest(slot)
    if not kind:
        return None
    ends_at = departure.ends_at if departure else math.inf
    return {
        "notice": kind,
        "reason": WORDS_OF[kind],
        "drains": departure is not None,
        "seconds": round(now - slot.reals[scoreboard.NOTICED_AT + NOTICES.index(kind)], 3),
        "seconds_left": None if ends_at == math.inf else round(max(0.0, ends_at - now), 1),
    }


def _latest(slot: Slot) -> str:
    """Return the kind of the notice that came last, empty without one."""
    at = [slot.reals[scoreboard.NOTICED_AT + number] for number in range(len(NOTICES))]
    latest = max(at)
    return NOTICES[at.index(latest)] if latest else ""
