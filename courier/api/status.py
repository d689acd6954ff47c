"""The answer to GET /status: the state of the whole program, for people and scripts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from courier import __version__
from courier.api.observed import Observed
from courier.api.rates import WINDOWS, Rates
from courier.api.readiness import unready
from courier.board.recent_failures import recent_failures
from courier.board.shortage import shortages
from courier.board.tally import COUNTED
from courier.process import scoreboard
from courier.process.scoreboard import EMPTY, READY, SILENT_SECONDS, SUPERVISOR, WORDS, Slot
from courier.process.word_table import Kind
from courier.recipient.breaker import STATE_NAMES

TOTALS: Final = {word.name: word.place for word in WORDS if word.kind & (Kind.TOTAL | Kind.RATE)}

STATES: Final = ("down", "starting", "ready", "draining")
"""The names of the states on the board. A slot is ``down`` when its worker awaits replacement or was removed."""

SILENT: Final = "silent"
"""The state of a ready or draining worker without a recent beat; its other values can't be trusted."""


class Status:
    """Makes the answer, with rates from the samples taken by :meth:`sample`."""

    def __init__(self, observed: Observed, settings: Mapping[str, object]) -> None:
        """``settings`` are shown unchanged, so they must not contain secrets."""
        self._observed = observed
        self._settings = dict(settings)
        self._rates = Rates(time.monotonic(), self._counts())

    def sample(self) -> None:
        """Take a sample for the rates; call it once a second."""
        self._rates.sample(time.monotonic(), self._counts())

    def answer(self) -> dict[str, Any]:
        """Return the state of the program at this moment; times are in seconds."""
        board, now = self._observed.board, time.monotonic()
        found = unready(self._observed, now)
        reasons = [each.reason for each in found]
        return {
            "version": __version__,
            "state": state(reasons),
            "reasons": reasons,
            # One for each reason, in the same order.
            "advice": [each.advice for each in found],
            "uptime_seconds": round(now - board.supervisor.reals[scoreboard.STARTED], 3),
            "settings": self._settings,
            "totals": {name: board.total(word) for name, word in TOTALS.items()},
            "rates": {f"{window}s": self._rates_over(window, now) for window in WINDOWS},
            **self._recipient(now),
            "limit": board.gauge(scoreboard.LIMIT, now),
            "in_flight": board.gauge(scoreboard.IN_FLIGHT, now),
            "kept": board.gauge(scoreboard.KEPT, now),
            # The number of senders that lack each resource.
            "shortages": shortages(board, now),
            "held": board.gauge(scoreboard.HELD, now),
            "held_bytes": board.gauge(scoreboard.HELD_BYTES, now),
            "queued": {name: depth._asdict() for name, depth in self._observed.depths().items()},
            "failures": [failure.as_status() for failure in recent_failures(board)],
            "workers": [worker(slot, now) for role in board.roles() for slot in board.slots(role) if _used(slot)],
        }

    def _recipient(self, now: float) -> dict[str, Any]:
        recipient = self._observed.recipient(now)
        shown = {
            "state": STATE_NAMES[recipient.state],
            "faults_in_a_row": recipient.faults,
            "next_probe_seconds": round(recipient.next_probe, 1),
            "openings": self._observed.board.total(scoreboard.OPENINGS),
            "refused": {"messages": recipient.refused, "answers": recipient.answers, "status": recipient.status},
        }
        return {"breaker": shown, "paused_seconds": round(recipient.paused, 1)}

    def _counts(self) -> Sequence[int]:
        return [self._observed.board.total(word) for word in COUNTED.values()]

    def _rates_over(self, window: int, now: float) -> dict[str, float]:
        rates = self._rates.over(window, now, self._counts())
        return {name: round(rate, 2) for name, rate in zip(COUNTED, rates, strict=True)}


def state(reasons: Sequence[str]) -> str:
    """Return the program's state: starting, ready, not ready or draining."""
    if not reasons:
        return "ready"
    return reasons[0] if reasons[0] in ("starting", "draining") else "not ready"


def state_of(slot: Slot, now: float) -> str:
    """Return the state of a worker at ``now`` (monotonic seconds), one of :data:`STATES` or :data:`SILENT`."""
    state = slot.words[scoreboard.STATE]
    # The supervisor writes no beat: only the service manager watches it.
    is_silent = slot.role != SUPERVISOR and now - slot.reals[scoreboard.BEAT] >= SILENT_SECONDS
    return SILENT if state >= READY and is_silent else STATES[state]


def worker(slot: Slot, now: float) -> dict[str, Any]:
    """Return what the board shows of one worker."""
    beat, state = slot.reals[scoreboard.BEAT], state_of(slot, now)
    return {
        "role": slot.role,
        "index": slot.index,
        "pid": slot.words[scoreboard.PID] or None,
        "state": state,
        "in_flight": slot.words[scoreboard.IN_FLIGHT] if state != SILENT else None,
        "last_beat_seconds": round(now - beat, 3) if beat else None,
        "restarts": slot.words[scoreboard.RESTARTS],
    }


def _used(slot: Slot) -> bool:
    """Return whether the slot has ever had a worker; the API leaves out the spare slots."""
    return slot.words[scoreboard.STATE] != EMPTY or slot.reals[scoreboard.STARTED] > 0
