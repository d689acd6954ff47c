"""What GET /status answers: the whole program, to be read by a person or a script."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from courier import __version__
from courier.api.observed import Observed
from courier.api.rates import WINDOWS, Rates
from courier.api.readiness import not_ready
from courier.breaker import STATE_NAMES
from courier.process import scoreboard
from courier.process.scoreboard import EMPTY, Slot

COUNTED: Final[Mapping[str, int]] = {
    "received": scoreboard.RECEIVED,
    "delivered": scoreboard.DELIVERED,
    "retried": scoreboard.RETRIED,
    "rejected": scoreboard.REJECTED,
    "released": scoreboard.RELEASED,
    "recorded": scoreboard.RECORDED,
    "deleted": scoreboard.DELETED,
    "lapsed": scoreboard.LAPSED,
}
"""What has a rate, and the word of each."""

TOTALS: Final[Mapping[str, int]] = {
    **COUNTED,
    "extended": scoreboard.EXTENDED,
    "expired": scoreboard.EXPIRED,
    "stale": scoreboard.STALE,
    "cut": scoreboard.CUT,
    "unsettled": scoreboard.UNSETTLED,
    "corrupt": scoreboard.CORRUPT,
    "records_lost": scoreboard.RECORDS_LOST,
    "audit_failures": scoreboard.AUDIT_FAILURES,
    "restarts": scoreboard.RESTARTS,
}

STATES: Final = ("down", "starting", "ready", "draining")
"""By the states of the board; ``down`` is a slot whose worker is about to be replaced, or was taken out."""


class Status:
    """Makes the answer, with rates from the samples that it is told to take."""

    def __init__(self, observed: Observed, settings: Mapping[str, object]) -> None:
        """``settings`` are shown as they are, so they hold no secret."""
        self._observed = observed
        self._settings = dict(settings)
        self._rates = Rates(time.monotonic(), self._counts())

    def sample(self) -> None:
        """Take a sample for the rates; call it once a second."""
        self._rates.sample(time.monotonic(), self._counts())

    def answer(self) -> dict[str, Any]:
        """Give what the program is and does at this moment; times are seconds."""
        board, now = self._observed.board, time.monotonic()
        reasons = not_ready(self._observed, now)
        return {
            "version": __version__,
            "state": state(reasons),
            "reasons": reasons,
            "uptime_seconds": round(now - board.supervisor.reals[scoreboard.STARTED], 3),
            "settings": self._settings,
            "totals": {name: board.total(word) for name, word in TOTALS.items()},
            "rates": {f"{window}s": self._rates_over(window, now) for window in WINDOWS},
            **self._recipient(now),
            "limit": board.total(scoreboard.LIMIT),
            "in_flight": board.total(scoreboard.IN_FLIGHT),
            "held": board.total(scoreboard.HELD),
            "held_bytes": board.total(scoreboard.HELD_BYTES),
            "queued": {name: depth._asdict() for name, depth in self._observed.depths().items()},
            "workers": [worker(slot, now) for role in board.roles() for slot in board.slots(role) if _used(slot)],
        }

    def _recipient(self, now: float) -> dict[str, Any]:
        told = self._observed.recipient(now)
        shown = {
            "state": STATE_NAMES[told.state],
            "faults_in_a_row": told.faults,
            "next_probe_seconds": round(told.next_probe, 1),
            "openings": self._observed.board.total(scoreboard.OPENINGS),
        }
        return {"breaker": shown, "paused_seconds": round(told.paused, 1)}

    def _counts(self) -> Sequence[int]:
        return [self._observed.board.total(word) for word in COUNTED.values()]

    def _rates_over(self, window: int, now: float) -> dict[str, float]:
        rates = self._rates.over(window, now, self._counts())
        return {name: round(rate, 2) for name, rate in zip(COUNTED, rates, strict=True)}


def state(reasons: Sequence[str]) -> str:
    """Give the program's state in a word or two: starting, ready, not ready or draining."""
    if not reasons:
        return "ready"
    return reasons[0] if reasons[0] in ("starting", "draining") else "not ready"


def worker(slot: Slot, now: float) -> dict[str, Any]:
    """Give what the board says of one worker."""
    beat = slot.reals[scoreboard.BEAT]
    return {
        "role": slot.role,
        "index": slot.index,
        "pid": slot.words[scoreboard.PID] or None,
        "state": STATES[slot.words[scoreboard.STATE]],
        "in_flight": slot.words[scoreboard.IN_FLIGHT],
        # The supervisor has none: nobody watches it but the service manager.
        "last_beat_seconds": round(now - beat, 3) if beat else None,
        "restarts": slot.words[scoreboard.RESTARTS],
    }


def _used(slot: Slot) -> bool:
    """Leave out the spare slots that never had a worker."""
    return slot.words[scoreboard.STATE] != EMPTY or slot.reals[scoreboard.STARTED] > 0
