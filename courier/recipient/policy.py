"""The retry policy: pure rules that turn an answer of the recipient into the outcome of a message."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, TypeGuard

from courier.http.answer import CANCELLED, SHORTAGES, Answer, Failure
from courier.lease import MAX_HIDDEN_SECONDS
from courier.recipient.batch_reasons import ITEM_FAILED
from courier.recipient.content import NOT_FETCHED, UNSENDABLE

OWN_REASONS: Final = frozenset({CANCELLED, *SHORTAGES, *NOT_FETCHED})
"""Reasons of failure that say nothing about the recipient."""

MAX_DOUBLINGS: Final = 32
"""Beyond this many doublings every cap is reached. It keeps ``2.0 ** n`` finite for any receive count."""

SHORTAGE_SECONDS: Final = 1.0
SHORTAGE_ATTEMPT: Final = 3
"""The minimum delay of a message of which a part was lost because descriptors ran out, and the attempt whose back-off
it gets if its sender's delay is unknown."""

STATUSES: Final = range(100, 1000)
"""Every three-digit HTTP status."""


def parse_statuses(text: str) -> frozenset[int]:
    """Parse a list of statuses and ranges such as ``200-299,304``; empty text means none. Raise ValueError."""
    statuses: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        try:
            low, high = int(first), int(last if dash else first)
        except ValueError:
            raise ValueError(f"{part!r} is no status or range of statuses; write e.g. 200-299,304") from None
        if low > high or low not in STATUSES or high not in STATUSES:
            raise ValueError(f"{part!r} must be within 100 to 999, the lower one first; write e.g. 200-299,304")
        statuses.update(range(low, high + 1))
    return frozenset(statuses)


class Delivered(NamedTuple):
    """The recipient took the message: a complete success came back after the whole request was written."""

    status: int


class Retry(NamedTuple):
    """Try again after ``delay`` seconds; ``reason`` is a short phrase for logs and counters.

    ``fault``: it counts against the recipient as a whole, not only this message. ``refusal``: it counts as a rejection
    does, although it is tried again. ``slow_down``: the seconds for which the recipient asked all senders to wait,
    otherwise 0.
    """

    delay: float
    reason: str
    status: int | None
    fault: bool = False
    slow_down: float = 0.0
    refusal: bool = False


class Rejected(NamedTuple):
    """The recipient will never take this message, so another attempt is pointless."""

    reason: str
    status: int | None


Outcome = Delivered | Retry | Rejected

FAULTS: Final = frozenset({429, *range(500, 600)})
"""Statuses that concern the recipient rather than the message, and count for its circuit breaker."""

HEAD_PROBES: Final = 5
"""Refused probes after which a message of a FIFO group makes way for the next one of the group."""

HEAD_PAUSE_SECONDS: Final = 10.0
LONGEST_HEAD_PAUSE_SECONDS: Final = 600.0
"""Seconds of an outage between two messages that make way to the failure queue: they double from the first to the
second."""

RESETS_KEPT: Final = 1024
"""Messages whose reset connections a sender remembers."""


class AnswerRules(NamedTuple):
    """What each status means. A status in neither set is tried again: a forgotten rule costs time, not a message."""

    success: frozenset[int]
    reject: frozenset[int]

    @classmethod
    def of(cls, success: Iterable[int], retry: Iterable[int], reject: Iterable[int]) -> AnswerRules:
        """Build the rules from three sets of statuses. Where they overlap, success wins, then retry."""
        good = frozenset(success)
        return cls(good, frozenset(reject) - frozenset(retry) - good)


DEFAULT_SUCCESS: Final = "200-299"
DEFAULT_RETRY: Final = "408,425,429,500-599"
DEFAULT_REJECT: Final = "300-499"
DEFAULT_RULES: Final = AnswerRules.of(*map(parse_statuses, (DEFAULT_SUCCESS, DEFAULT_RETRY, DEFAULT_REJECT)))


class Backoff(NamedTuple):
    """Exponential back-off with full jitter: a delay drawn evenly from 0 to min(cap, base · 2^(attempt − 1)) seconds.

    ``fixed`` seconds replace it if given, like aws-sqsd's error visibility timeout. According to AWS's architecture
    notes on back-off, full jitter clears a crowd of retries fastest.
    """

    base: float
    cap: float
    fixed: float | None = None

    def delay(self, attempt: int, draw: float) -> float:
        """Return the seconds to wait after failed attempt number ``attempt`` (from 1); ``draw`` is in [0, 1)."""
        if self.fixed is not None:
            return self.fixed
        doublings = min(max(attempt, 1) - 1, MAX_DOUBLINGS)
        return draw * min(self.cap, self.base * 2.0**doublings)

    def after_shortage(self, known: float, draw: float) -> float:
        """Return the seconds until a message comes again of which a part was lost on its way between two processes.

        ``known`` is the back-off from its sender, 0 if unknown. The result is at least a second: while descriptors are
        short, the part would be lost again at once.
        """
        return max(SHORTAGE_SECONDS, known or self.delay(SHORTAGE_ATTEMPT, draw))


def is_success(answer: Answer | Failure, rules: AnswerRules) -> TypeGuard[Answer]:
    """Return whether the recipient took the message.

    A success counts only if it arrived after the whole request was written: before that the recipient can't have seen
    the message.
    """
    return isinstance(answer, Answer) and answer.status in rules.success and answer.request_written


def judge(
    answer: Answer | Failure,
    attempt: int,
    rules: AnswerRules,
    backoff: Backoff,
    draw: float,
    unix_now: float,
    *,
    own_reset: bool = False,
) -> Outcome:
    """Turn an answer, or its absence, into an outcome.

    ``attempt`` counts from 1, ``draw`` is in [0, 1), ``unix_now`` is for a Retry-After that is a date. A missing answer
    is tried again. It counts against the recipient, unless Courier gave up itself, or the connection was reset because
    of the message (``own_reset``, see :class:`Resets`). A message that can't be sent is rejected. A message that the
    answer to its batch names as failed is refused, and tried again. Any other answer that
    is tried again is a refusal, whatever lists its status is on: otherwise a recipient that answers nothing else would
    move one message after another to the dead-letter queue.
    """
    if is_success(answer, rules):
        return Delivered(answer.status)
    if isinstance(answer, Failure):
        if answer.reason in UNSENDABLE:
            return Rejected(answer.reason, None)
        if answer.reason == ITEM_FAILED:
            return Retry(backoff.delay(attempt, draw), answer.reason, None, refusal=True)
        fault = answer.reason not in OWN_REASONS and not own_reset
        return Retry(max(backoff.delay(attempt, draw), answer.again_in), answer.reason, None, fault=fault)
    status = answer.status
    if status in rules.success:
        return Retry(backoff.delay(attempt, draw), "answered before the request was written", status, refusal=True)
    reason = f"status {status}"
    if status in rules.reject:
        return Rejected(reason, status)
    slow_down = asked_delay(answer, unix_now) if status in (429, 503) else 0.0
    delay, fault = retry_delay(answer, attempt, backoff, draw, unix_now), status in FAULTS
    return Retry(delay, reason, status, fault=fault, slow_down=slow_down, refusal=not fault)


def retry_instead(
    rejected: Rejected, answer: Answer | Failure, attempt: int, backoff: Backoff, draw: float, unix_now: float
) -> Retry:
    """Return the retry that replaces a rejection if there is no failure queue for it. It counts as a refusal."""
    delay = retry_delay(answer, attempt, backoff, draw, unix_now)
    return Retry(delay, rejected.reason, rejected.status, refusal=True)


def at_last_receive(outcome: Retry, receives: int, max_receives: int) -> Rejected | None:
    """Return the rejection of a message that fails at its last receive; ``None`` before that, or without a last one."""
    if not 0 < max_receives <= receives:
        return None
    return Rejected(f"{outcome.reason} at receive {receives}", outcome.status)


def second_look(outcome: Retry, *, in_doubt: bool, failed_before: bool) -> Retry:
    """Return what a failure says about the recipient: nothing if the message fails again while others are delivered.

    ``in_doubt``: no sender has delivered another message since the message failed before, if it did.
    ``failed_before``: the message came again from its queue, while many others are delivered.
    """
    return outcome if in_doubt and not failed_before else outcome._replace(fault=False)


class HeadTurns:
    """One sender's memory of refused messages of FIFO groups that made way to the failure queue in an outage.

    SQS hands out no other message of the group while this one is kept. If the queue has no other group, there is
    nothing else to probe with, and one bad message would keep receiving stopped for good.
    """

    def __init__(self) -> None:
        self._since = self._pause = self._next_at = 0.0

    def may_make_way(self, probes: int, since: float, now: float) -> bool:
        """Return whether a message refused as ``probes`` probes makes way, and count it if so.

        ``since`` is when the outage began. It and ``now`` are monotonic seconds.
        """
        if probes < HEAD_PROBES:
            return False
        if self._since != since:
            self._since, self._pause = since, HEAD_PAUSE_SECONDS
            self._next_at = since + HEAD_PAUSE_SECONDS
        if now < self._next_at:
            return False
        self._pause = min(LONGEST_HEAD_PAUSE_SECONDS, 2.0 * self._pause)
        self._next_at = now + self._pause
        return True


class Resets:
    """One sender's memory of messages whose connection was reset: is the message the cause, or the recipient?

    A repeated reset is the message's own if the recipient has answered any sender since the earlier reset: the
    recipient can't read the message, or crashes because of it. So in an outage at most one reset of each message is
    attributed to the message, and the next one counts against the recipient.
    """

    def __init__(self) -> None:
        self._reset_at: dict[str, float] = {}

    def is_of_the_message(self, message_id: str, began: float, now: float, answered_at: float, *, again: bool) -> bool:
        """Record a reset at ``now`` of an attempt that began at ``began``. Return whether it is the message's own.

        ``answered_at`` is when the recipient last answered any sender. ``again``: this isn't the first attempt of the
        message. If the earlier attempt was another sender's, answers since this one began count. All times are
        monotonic seconds.
        """
        before = self._reset_at.pop(message_id, began if again else math.inf)
        if len(self._reset_at) >= RESETS_KEPT:
            del self._reset_at[next(iter(self._reset_at))]
        self._reset_at[message_id] = now
        return answered_at > before


def retry_delay(answer: Answer | Failure, attempt: int, backoff: Backoff, draw: float, unix_now: float) -> float:
    """Return the seconds until the next attempt; the arguments are those of :func:`judge`.

    The recipient may ask for more than the back-off, never for less: if it asked for 0, it would be sent the message
    again and again, as fast as it can refuse.
    """
    return max(backoff.delay(attempt, draw), asked_delay(answer, unix_now))


def asked_delay(answer: Answer | Failure, unix_now: float) -> float:
    """Return the seconds that the recipient asks for with Retry-After; 0 without one."""
    return retry_after(answer.header(b"retry-after"), unix_now) or 0.0 if isinstance(answer, Answer) else 0.0


def least_delay(answer: Answer | Failure, backoff: Backoff, unix_now: float) -> float:
    """Return the minimum seconds before the next attempt: those of its Retry-After, or of a fixed back-off."""
    return max(asked_delay(answer, unix_now), backoff.fixed or 0.0)


def retry_after(value: bytes | None, unix_now: float) -> float | None:
    """Parse a Retry-After (RFC 9110, section 10.2.3), seconds or a date. Return seconds from now, ``None`` if invalid.

    The result is at most the 12 hours for which SQS can hide a message.
    """
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        # Ten digits are more than the limit in any case, and int() of a megabyte of them would take long.
        return float(min(MAX_HIDDEN_SECONDS, int(text))) if len(text) < 10 else float(MAX_HIDDEN_SECONDS)
    try:
        date = parsedate_to_datetime(text)
        # A date without a zone, as in the asctime form, is UTC: RFC 9110, section 5.6.7.
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return min(float(MAX_HIDDEN_SECONDS), max(0.0, at - unix_now))
