"""The counts by kind and their places on the scoreboard: reasons of failed deliveries, results of calls to SQS.

The lists are short and fixed because each entry becomes a series in Prometheus. Anything else counts as ``other``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from courier.http.answer import REASONS as FAILURES
from courier.http.answer import SHORTAGES
from courier.process import scoreboard
from courier.process.internal_errors import INTERNAL_ERROR
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient.batch_reasons import BATCH_REASONS
from courier.recipient.content import NOT_FETCHED, UNSENDABLE
from courier.sqs import errors

OTHER: Final = "other"
EARLY: Final = "answered early"
"""A success that arrived before the whole request was written."""

CLIENT_ERRORS: Final = (*range(400, 418), *range(421, 427), 428, 429, 431, 451)
"""The 4xx in IANA's registry of HTTP status codes; each has a separate count."""

_WITHOUT_ANSWER: Final = (*FAILURES, INTERNAL_ERROR, *UNSENDABLE, *NOT_FETCHED, *BATCH_REASONS)

REASONS: Final = ("3xx", *map(str, CLIENT_ERRORS), "4xx", "5xx", EARLY, OTHER, *_WITHOUT_ANSWER)
"""The reasons of retries and rejections; 4xx is any status that isn't listed by number.

They are in the order of the words of RETRIED_BY and of REJECTED_BY.
"""

RECEIVE: Final = "ReceiveMessage"
LOOKS: Final = ("GetQueueAttributes", "GetQueueUrl")
"""Actions on which nothing depends but what is shown."""

ACTIONS: Final = (RECEIVE, "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch", *LOOKS)

SUCCESS: Final = "success"
CREDENTIALS: Final = "credentials"
ACCESS: Final = "denied"
SHORTAGE: Final = "shortage"
"""The call failed because this machine lacks descriptors, ports or memory."""

NETWORK: Final = "network"
THROTTLED: Final = "throttled"
MISSING: Final = "missing queue"
SERVER_ERROR: Final = "server error"

RESULTS: Final = (
    SUCCESS,
    NETWORK,
    THROTTLED,
    CREDENTIALS,
    ACCESS,
    MISSING,
    SERVER_ERROR,
    SHORTAGE,
    OTHER,
)
"""The results of a call, in the order of the words of CALLS for each of ACTIONS."""

_FAILURE_PLACES: Final[Mapping[str, int]] = {reason: REASONS.index(reason) for reason in _WITHOUT_ANSWER}
_STATUS_PLACES: Final = (None, None, EARLY, "3xx", "4xx", "5xx")
_ACTION_PLACES: Final[Mapping[str, int]] = {action: n * len(RESULTS) for n, action in enumerate(ACTIONS)}
_CLASSES: Final = (
    ({errors.NETWORK}, NETWORK),
    (frozenset(SHORTAGES), SHORTAGE),
    (errors.THROTTLED, THROTTLED),
    ({errors.NO_CREDENTIALS} | errors.STALE_KEYS | errors.UNKNOWN_KEYS | errors.SKEWED, CREDENTIALS),
    (errors.DENIED, ACCESS),
    (errors.MISSING_QUEUE, MISSING),
    (errors.TRANSIENT | {errors.UNREADABLE}, SERVER_ERROR),
)
_RESULT_PLACES: Final[Mapping[str | None, int]] = {
    None: 0,
    **{code: RESULTS.index(result) for codes, result in _CLASSES for code in codes},
}


class CallWatch(NamedTuple):
    """The words of a slot for a failing call: which one, since when, and its last failure (monotonic seconds)."""

    failing: int
    since: int
    last: int


QUEUE: Final = CallWatch(scoreboard.CALL_FAILING, scoreboard.FAILING_SINCE, scoreboard.FAILED_AT)
FAILURE_QUEUE: Final = CallWatch(scoreboard.SEND_FAILING, scoreboard.SEND_FAILING_SINCE, scoreboard.SEND_FAILED_AT)


def reason_place(status: int | None, reason: str) -> int:
    """Return the place in :data:`REASONS` of a failed delivery: by its status, or without an answer by its reason."""
    if status is None:
        return _FAILURE_PLACES.get(reason, REASONS.index(OTHER))
    if status in CLIENT_ERRORS:
        return 1 + CLIENT_ERRORS.index(status)
    name = _STATUS_PLACES[status // 100] if 0 <= status < 600 else None
    return REASONS.index(name or OTHER)


def result_place(code: str | None) -> int:
    """Return the place in :data:`RESULTS` of a call that ended with the error ``code``, ``None`` for success."""
    return _RESULT_PLACES.get(code, RESULTS.index(OTHER))


def call_counter(slot: Slot) -> Callable[[str, str | None], None]:
    """Return a callback for a client of SQS that counts calls by action and result."""

    def count(action: str, code: str | None) -> None:
        slot.words[scoreboard.CALLS + _ACTION_PLACES[action] + result_place(code)] += 1

    return count


def call_watcher(slot: Slot, of: CallWatch = QUEUE) -> Callable[[str, str | None], None]:
    """Return a :func:`call_counter` that also writes failing calls on the board, for a client that needs a watch."""
    count = call_counter(slot)

    def watch(action: str, code: str | None) -> None:
        count(action, code)
        if action in LOOKS:
            return
        if code is None:
            note_success(slot, action, of)
        else:
            note_failure(slot, action, code, time.monotonic(), of)

    return watch


def note_failure(slot: Slot, action: str, code: str, now: float, of: CallWatch = QUEUE) -> None:
    """Write on the board that calls of ``action`` fail, unless another action is already shown as failing."""
    words = slot.words
    standing = _ACTION_PLACES[action] + result_place(code)
    failing = words[of.failing]
    if not failing:
        slot.reals[of.since] = now
    elif ACTIONS[failing // len(RESULTS)] != action:
        return
    slot.reals[of.last] = now
    words[of.failing] = standing


def note_success(slot: Slot, action: str, of: CallWatch = QUEUE) -> None:
    """Write on the board that calls of ``action`` succeed."""
    failing = slot.words[of.failing]
    if failing and ACTIONS[failing // len(RESULTS)] == action:
        slot.words[of.failing] = 0


def failing_call(slot: Slot, of: CallWatch = QUEUE) -> tuple[str, str] | None:
    """Return the action and the result of the failing calls, or ``None``."""
    failing = slot.words[of.failing]
    return (ACTIONS[failing // len(RESULTS)], RESULTS[failing % len(RESULTS)]) if failing else None


COUNTED: Final = {word.name: word.place for word in scoreboard.WORDS if scoreboard.RATE in word.kind}
"""The counts of outcomes, and the word of each."""


def totals(board: Scoreboard) -> dict[str, int]:
    """Return what the program has done since its start, for its last log line."""
    words = {
        **COUNTED,
        "duplicates": scoreboard.DUPLICATES,
        "cut": scoreboard.CUT,
        "unsettled": scoreboard.UNSETTLED,
    }
    return {name: board.total(word) for name, word in words.items()}
