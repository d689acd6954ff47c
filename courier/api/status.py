"""The answer to GET /status: the state of the whole program, for people and scripts."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from courier import __version__
from courier.api.about import NOTHING, About
from courier.api.counts import DURATIONS, read_counts
from courier.api.memory import Memory
from courier.api.observed import Observed
from courier.api.outages import Outages, merged
from courier.api.queue_view import QueueView
from courier.api.rates import WINDOWS, Rates
from courier.api.readiness import unready
from courier.api.routes import routes_status
from courier.api.samples import Samples
from courier.api.workers import workers
from courier.board.archive import archive_view
from courier.board.leaving import leaving_status
from courier.board.pause import pause_status
from courier.board.recent_failures import recent_failures
from courier.board.senders import sender_roles, sender_slots
from courier.board.settings_in_force import read_changes
from courier.board.shortage import shortages
from courier.board.tally import COUNTED
from courier.process import scoreboard
from courier.process.scoreboard import WORDS
from courier.process.word_table import Kind
from courier.recipient.breaker import STATE_NAMES
from courier.recipient.content import reason_of

TOTALS: Final = {word.name: word.place for word in WORDS if word.kind & (Kind.TOTAL | Kind.RATE)}

LATENCY_WINDOWS: Final = (10, 60, 300)
"""Seconds of the percentiles."""


class Status:
    """Makes the answer, with rates and percentiles from the samples taken by :meth:`sample`."""

    def __init__(self, observed: Observed, settings: Mapping[str, object], about: About = NOTHING) -> None:
        """``settings`` and the configuration in ``about`` are shown unchanged, so they must not contain secrets."""
        self._observed = observed
        self._board = board = observed.board
        self._settings = dict(settings)
        self._about = about
        self._host = socket.gethostname()
        now, counts = time.monotonic(), read_counts(board)
        self._rates = Rates(now, counts, max(LATENCY_WINDOWS))
        self._samples = Samples(now, time.time(), counts)
        self._outages = [Outages(board, role) for role in sender_roles(board)]
        self._queues = QueueView(board, about)
        self.memory = Memory()

    def name_queues(self, queue: str, dead_letter_queue: str, failure_queue: str) -> None:
        """Change the names of the queues, once they are known."""
        self._about = self._about._replace(
            queue=queue, dead_letter_queue=dead_letter_queue, failure_queue=failure_queue
        )
        self._queues.about = self._about

    def sample(self) -> None:
        """Take a sample of everything that has a past; call it once a second, at the whole second."""
        now, counts = time.monotonic(), read_counts(self._board)
        self._rates.sample(now, counts)
        for outages in self._outages:
            outages.look(now)
        self._samples.add(now, time.time(), counts, self._queues.look(now))

    def samples(self) -> dict[str, Any]:
        """Return the answer to GET /status/samples."""
        return self._samples.answer()

    def answer(self) -> dict[str, Any]:
        """Return the state of the program at this moment; times are in seconds."""
        now, unix_now, counts = time.monotonic(), time.time(), read_counts(self._board)
        rates = {window: self._rates.over(window, now, counts)[: len(COUNTED)] for window in WINDOWS}
        named = {window: dict(zip(COUNTED, found, strict=True)) for window, found in rates.items()}
        return {
            **self._program(now, unix_now),
            "totals": {name: self._board.total(word) for name, word in TOTALS.items()},
            "rates": {
                f"{window}s": {name: round(rate, 2) for name, rate in found.items()} for window, found in named.items()
            },
            "latency": {f"{window}s": self._latency_over(window, now, counts) for window in LATENCY_WINDOWS},
            "queue": self._queues.queue(now, unix_now, named[10]["delivered"]),
            "dead_letters": self._queues.dead_letters(now),
            **self._recipient(now, unix_now),
            **self._work(now),
            "routes": routes_status(self._observed, now),
            "failures": [failure.as_status() for failure in recent_failures(sender_slots(self._board))],
            "workers": workers(self._board, now, self.memory),
            **self._configured(),
            "control": {"socket": self._socket(), "page": self._about.page_control},
        }

    def _configured(self) -> dict[str, Any]:
        """Return the settings in effect: those of the start, with what a reload and scaling have changed."""
        words, changes = self._board.supervisor.words, read_changes(self._board)
        scaled = {"senders": words[scoreboard.SENDERS_SCALED], "consumers": words[scoreboard.CONSUMERS_SCALED]}
        configuration = []
        for setting in self._about.configuration:
            shown = {name: changes.get(setting["option"], setting)[name] for name in setting}
            if (count := scaled.get(shown["option"])) and str(count) != shown["value"]:
                shown |= {"value": str(count), "source": "set by scale", "default": False}
            configuration.append(shown)
        settings = dict(self._settings)
        for change in changes.values():
            if change["default"]:
                settings.pop(change["name"], None)
            else:
                settings[change["name"]] = change["value"]
        return {"settings": settings, "configuration": configuration}

    def _socket(self) -> str | None:
        # It may be gone, or it couldn't be made: Courier works without it.
        path = self._about.control
        return path if path is not None and os.path.exists(path) else None

    def _program(self, now: float, unix_now: float) -> dict[str, Any]:
        found = unready(self._observed, now)
        reasons = [each.reason for each in found]
        uptime = now - self._board.supervisor.reals[scoreboard.STARTED]
        return {
            "version": __version__,
            "python": platform.python_version(),
            "host": self._host,
            "state": state(reasons),
            "reasons": reasons,
            # One for each reason, in the same order.
            "advice": [each.advice for each in found],
            "now": round(unix_now, 3),
            "started_at": round(unix_now - uptime, 3),
            "uptime_seconds": round(uptime, 3),
            "pause": pause_status(self._board, now),
            "leaving": leaving_status(self._board, now),
        }

    def _work(self, now: float) -> dict[str, Any]:
        board = self._board
        return {
            "limit": board.gauge(scoreboard.LIMIT, now),
            "in_flight": board.gauge(scoreboard.IN_FLIGHT, now),
            "kept": board.gauge(scoreboard.KEPT, now),
            # The number of senders that lack each resource.
            "shortages": shortages(board, now),
            "held": board.gauge(scoreboard.HELD, now),
            "held_bytes": board.gauge(scoreboard.HELD_BYTES, now),
            # How the archive of the audit log stands; null without one.
            "archive": archive_view(board, now).as_status(),
            "queued": {name: depth._asdict() for name, depth in self._observed.depths().items()},
        }

    def _recipient(self, now: float, unix_now: float) -> dict[str, Any]:
        recipient = self._observed.worst_recipient(now)
        shown = {
            "state": STATE_NAMES[recipient.state],
            "faults_in_a_row": recipient.faults,
            "next_probe_seconds": round(recipient.next_probe, 1),
            "openings": self._board.total(scoreboard.OPENINGS),
            "refused": {
                "messages": recipient.refused,
                "answers": recipient.answers,
                "status": 0 if reason_of(recipient.status) else recipient.status,
            },
            **merged([outages.answer(now, unix_now) for outages in self._outages]),
        }
        return {"breaker": shown, "paused_seconds": round(recipient.paused, 1)}

    def _latency_over(self, window: int, now: float, counts: Sequence[int]) -> dict[str, Any]:
        _, growth = self._rates.growth(window, now, counts)
        return {
            name: {p: seconds if seconds is None else round(seconds, 6) for p, seconds in found.items()}
            for name, found in ((name, duration.percentiles(growth)) for name, duration in DURATIONS.items())
        }


def state(reasons: Sequence[str]) -> str:
    """Return the program's state: starting, ready, not ready or draining."""
    if not reasons:
        return "ready"
    return reasons[0] if reasons[0] in ("starting", "draining") else "not ready"
