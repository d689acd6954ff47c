"""The recent failures of deliveries: the last one for each reason, with a count.

Each sender records its failures in shared memory. The API shows them and the first sender logs them; both merge the
records of all senders by reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson
import structlog

from courier.audit.record import rfc3339
from courier.log.printable import replaced
from courier.process.notes import PLACES, TEXT_BYTES, Notes
from courier.process.scoreboard import Slot
from courier.recipient.advice import advice

ANSWER_CHARACTERS: Final = 200
"""Maximum characters kept of an answer."""

LOG_EVERY_SECONDS: Final = 60.0
"""Minimum seconds between two log lines for one reason."""

log = structlog.get_logger("courier.sender")


class RecentFailure(NamedTuple):
    """The last failure for a reason, and the number of such failures since the start (``times``).

    ``at_ms`` is Unix milliseconds. ``attempts`` is the number of receives of the message plus the repeated attempts
    within this receive. ``answer`` is the beginning of the recipient's answer, or what went wrong if there was none.
    ``action`` is what Courier did with the message, and ``then`` what happens next. The attempt took ``took`` seconds.
    """

    reason: str
    status: int | None
    times: int
    at_ms: int
    message_id: str
    attempts: int
    answer: str
    action: str
    then: str = ""
    took: float = 0.0

    def as_status(self) -> dict[str, Any]:
        """Return the failure as the API shows it, with advice."""
        return {
            "time": rfc3339(self.at_ms),
            "reason": self.reason,
            "status": self.status,
            "count": self.times,
            "message_id": self.message_id,
            "attempts": self.attempts,
            "answer": self.answer,
            "action": self.action,
            "then": self.then or None,
            "took_seconds": round(self.took, 6),
            "advice": advice(self.status, self.reason),
        }


class FailureNotes:
    """The records of one sender. They continue those of the process that it replaces."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._places: dict[str, tuple[int, int]] = {}
        known = [(failure, place) for place in range(PLACES) if (failure := _read(notes, place)) is not None]
        for failure, place in sorted(known, key=lambda each: each[0].at_ms):
            self._places[failure.reason] = place, failure.times

    def note(
        self,
        reason: str,
        status: int | None,
        at_ms: int,
        message_id: str,
        attempts: int,
        answer: str,
        action: str,
        then: str = "",
        took: float = 0.0,
    ) -> None:
        """Record a failure; the fields are those of :class:`RecentFailure`.

        If all places are taken, it replaces the reason that hasn't occurred for the longest time.
        """
        known = self._places.pop(reason, None)
        if known is None:
            place = len(self._places)
            if place == PLACES:
                place, _ = self._places.pop(next(iter(self._places)))
            known = place, 0
        place, count = known[0], known[1] + 1
        self._places[reason] = place, count
        shown = replaced(message_id)
        failure = RecentFailure(reason, status, count, at_ms, shown, attempts, answer, action, then, took)
        self._notes.write(place, _packed(failure))


def recent_failures(senders: Iterable[Slot]) -> list[RecentFailure]:
    """Return the failures of these senders, merged by reason, the latest first, at most 20."""
    merged: dict[str, RecentFailure] = {}
    for slot in senders:
        for place in range(PLACES):
            failure = _read(slot.notes, place)
            if failure is None:
                continue
            other = merged.get(failure.reason)
            if other is not None:
                latest = max(failure, other, key=lambda each: each.at_ms)
                failure = latest._replace(times=failure.times + other.times)
            merged[failure.reason] = failure
    return sorted(merged.values(), key=lambda failure: failure.at_ms, reverse=True)[:PLACES]


class FailureLog:
    """Logs each reason when it first occurs, and then once a minute while it recurs. The clock is passed in.

    Every sender has one. Only the first live sender logs. The others follow, so that a sender that takes over repeats
    no line.
    """

    def __init__(self) -> None:
        self._logged: dict[str, tuple[float, int]] = {}
        self._is_behind = False

    @property
    def is_behind(self) -> bool:
        """Whether a failure is counted but not logged yet, so that the caller must report again later."""
        return self._is_behind

    def follow(self, failures: Iterable[RecentFailure], now: float) -> None:
        """Mark failures as logged by another sender; ``now`` is in monotonic seconds."""
        self._is_behind = False
        for failure in failures:
            _, count = self._logged.get(failure.reason, (0.0, 0))
            if failure.times != count:
                self._logged[failure.reason] = now, failure.times

    def report(self, failures: Iterable[RecentFailure], now: float) -> None:
        """Log the failures that are due; ``now`` is in monotonic seconds."""
        self._is_behind = False
        for failure in failures:
            at, count = self._logged.get(failure.reason, (-math.inf, 0))
            if failure.times == count:
                continue
            if failure.times < count:
                # The reason was replaced by another one meanwhile, and its count began again.
                count = 0
            if now - at < LOG_EVERY_SECONDS or self._lines_since(now - LOG_EVERY_SECONDS) >= PLACES:
                # A recipient can answer with a thousand statuses, so the lines of all reasons are limited too.
                self._is_behind = True
                continue
            self._logged[failure.reason] = now, failure.times
            log.warning(
                "deliveries failed",
                reason=failure.reason,
                count=failure.times - count,
                message_id=failure.message_id,
                attempts=failure.attempts,
                answer=failure.answer,
                action=failure.action,
                advice=advice(failure.status, failure.reason),
            )

    def _lines_since(self, then: float) -> int:
        return sum(at > then for at, _ in self._logged.values())


def _packed(failure: RecentFailure) -> bytes:
    """Return a failure as JSON, with its longest texts cut to fit."""
    while len(text := orjson.dumps(tuple(failure))) > TEXT_BYTES:
        longest = max(
            ("answer", "message_id", "reason", "action", "then"), key=lambda name: len(getattr(failure, name))
        )
        value: str = getattr(failure, longest)
        changes: Mapping[str, Any] = {longest: value[: len(value) * 3 // 4]}
        failure = failure._replace(**changes)
    return text


def _read(notes: Notes, place: int) -> RecentFailure | None:
    text = notes.read(place)
    return None if text is None else RecentFailure(*orjson.loads(text))
