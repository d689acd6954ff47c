"""What is counted by kind, and where on the scoreboard: the reasons of retries, and what became of calls to SQS.

The lists are short and fixed, since each of their entries becomes a series in somebody's Prometheus: what stands on
none of them counts as ``other``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from courier.http.answer import REASONS as FAILURES
from courier.process import scoreboard
from courier.process.scoreboard import Slot
from courier.sqs.errors import (
    DENIED,
    MISSING_QUEUE,
    NETWORK,
    NO_CREDENTIALS,
    SKEWED,
    STALE_KEYS,
    THROTTLED,
    TRANSIENT,
    UNKNOWN_KEYS,
    UNREADABLE,
)

OTHER: Final = "other"
EARLY: Final = "answered early"
"""A success that came before the whole request was written."""

REASONS: Final = ("3xx", "4xx", "429", "5xx", EARLY, OTHER, *FAILURES)
"""Why a delivery is tried again, or rejected; 4xx without 429. The words of RETRIED_BY and REJECTED_BY, in order."""

RECEIVE: Final = "ReceiveMessage"
ACTIONS: Final = (RECEIVE, "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch")

SUCCESS: Final = "success"
CREDENTIALS: Final = "credentials"
ACCESS: Final = "denied"
RESULTS: Final = (SUCCESS, "network", "throttled", CREDENTIALS, ACCESS, "missing queue", "server error", OTHER)
"""What becomes of a call: the words of CALLS for each of ACTIONS, in order."""

_FAILURE_PLACES: Final[Mapping[str, int]] = {reason: REASONS.index(reason) for reason in FAILURES}
_STATUS_PLACES: Final = (None, None, EARLY, "3xx", "4xx", "5xx")
_ACTION_PLACES: Final[Mapping[str, int]] = {action: n * len(RESULTS) for n, action in enumerate(ACTIONS)}
_CLASSES: Final = (
    ({NETWORK}, "network"),
    (THROTTLED, "throttled"),
    ({NO_CREDENTIALS} | STALE_KEYS | UNKNOWN_KEYS | SKEWED, CREDENTIALS),
    (DENIED, ACCESS),
    (MISSING_QUEUE, "missing queue"),
    (TRANSIENT | {UNREADABLE}, "server error"),
)
_RESULT_PLACES: Final[Mapping[str | None, int]] = {
    None: 0,
    **{code: RESULTS.index(result) for codes, result in _CLASSES for code in codes},
}


class Watch(NamedTuple):
    """Which words of a slot tell what calls fail, since when, and when one last did (monotonic seconds)."""

    failing: int
    since: int
    last: int


QUEUE: Final = Watch(scoreboard.CALL_FAILING, scoreboard.FAILING_SINCE, scoreboard.FAILED_AT)
FAILURE_QUEUE: Final = Watch(scoreboard.SEND_FAILING, scoreboard.SEND_FAILING_SINCE, scoreboard.SEND_FAILED_AT)


def reason_place(status: int | None, reason: str) -> int:
    """Give the place in :data:`REASONS` of a delivery that failed: by its status, or without an answer its reason."""
    if status is None:
        return _FAILURE_PLACES.get(reason, REASONS.index(OTHER))
    if status == 429:
        return REASONS.index("429")
    name = _STATUS_PLACES[status // 100] if 0 <= status < 600 else None
    return REASONS.index(name or OTHER)


def result_place(code: str | None) -> int:
    """Give the place in :data:`RESULTS` of a call that ended with SQS's ``code``, ``None`` for success."""
    return _RESULT_PLACES.get(code, RESULTS.index(OTHER))


def call_counter(slot: Slot) -> Callable[[str, str | None], None]:
    """Make what a client of SQS tells its calls: it counts them by action and result."""

    def count(action: str, code: str | None) -> None:
        slot.words[scoreboard.CALLS + _ACTION_PLACES[action] + result_place(code)] += 1

    return count


def call_watcher(slot: Slot, of: Watch = QUEUE) -> Callable[[str, str | None], None]:
    """As :func:`call_counter`, and it keeps on the board what fails, for a client that nobody else watches."""
    count = call_counter(slot)

    def watch(action: str, code: str | None) -> None:
        count(action, code)
        if code is None:
            note_success(slot, action, of)
        else:
            note_failure(slot, action, code, time.monotonic(), of)

    return watch


def note_failure(slot: Slot, action: str, code: str, now: float, of: Watch = QUEUE) -> None:
    """Write on the board that calls of ``action`` fail; another action that does so already stays in its place."""
    words = slot.words
    standing = _ACTION_PLACES[action] + result_place(code)
    failing = words[of.failing]
    if not failing:
        slot.reals[of.since] = now
    elif ACTIONS[failing // len(RESULTS)] != action:
        return
    slot.reals[of.last] = now
    words[of.failing] = standing


def note_success(slot: Slot, action: str, of: Watch = QUEUE) -> None:
    """Write on the board that calls of ``action`` succeed."""
    failing = slot.words[of.failing]
    if failing and ACTIONS[failing // len(RESULTS)] == action:
        slot.words[of.failing] = 0


def failing_call(slot: Slot, of: Watch = QUEUE) -> tuple[str, str] | None:
    """Give the action and the result of the calls that fail, or ``None``."""
    failing = slot.words[of.failing]
    return (ACTIONS[failing // len(RESULTS)], RESULTS[failing % len(RESULTS)]) if failing else None
