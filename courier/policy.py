"""What an answer means: the pure rules from an answer of the receiver to an outcome for the message."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, TypeGuard

from courier.http.answer import CANCELLED, Answer, Failure
from courier.units import parse_statuses

MAX_HIDDEN_SECONDS: Final = 43_200
"""SQS keeps a message invisible for at most 12 hours from its receive; extensions don't reset that."""

OURS: Final = frozenset({CANCELLED})
"""Reasons of failure that say nothing about the endpoint."""

MAX_DOUBLINGS: Final = 32
"""Beyond this many doublings every cap is reached; it keeps ``2.0 ** n`` finite for any receive count."""


class Delivered(NamedTuple):
    """The receiver took the message: the whole request was written, and a complete success came back."""

    status: int


class Retry(NamedTuple):
    """Try again after ``delay`` seconds; ``reason`` is a short phrase for logs and counters.

    ``fault`` says that it counts against the endpoint as a whole, not only this message. ``slow_down`` is how
    many seconds the receiver asked everybody to wait, 0 where it didn't.
    """

    delay: float
    reason: str
    status: int | None
    fault: bool = False
    slow_down: float = 0.0


class Rejected(NamedTuple):
    """The receiver will never take this message: trying again is no use."""

    reason: str
    status: int | None


Outcome = Delivered | Retry | Rejected

FAULTS: Final = frozenset({429, *range(500, 600)})
"""Statuses that speak of the endpoint rather than of the message, and count for its circuit breaker."""


class Rules(NamedTuple):
    """What a status means. One in neither set is tried again: a forgotten rule may cost time, but no message."""

    success: frozenset[int]
    reject: frozenset[int]

    @classmethod
    def of(cls, success: Iterable[int], retry: Iterable[int], reject: Iterable[int]) -> Rules:
        """Make the rules of three sets of statuses. Where they overlap success counts first, then retry."""
        good = frozenset(success)
        return cls(good, frozenset(reject) - frozenset(retry) - good)


DEFAULT_SUCCESS: Final = "200-299"
DEFAULT_RETRY: Final = "408,425,429,500-599"
DEFAULT_REJECT: Final = "300-499"
DEFAULT_RULES: Final = Rules.of(*map(parse_statuses, (DEFAULT_SUCCESS, DEFAULT_RETRY, DEFAULT_REJECT)))


class Backoff(NamedTuple):
    """Full-jitter exponential back-off: a delay drawn evenly from 0 to min(cap, base · 2^(attempt − 1)) seconds.

    ``fixed`` seconds take its place where they are given, as aws-sqsd's error visibility timeout does. Full jitter is
    what AWS's architecture notes on back-off found to clear a crowd of retries the fastest.
    """

    base: float
    cap: float
    fixed: float | None = None

    def delay(self, attempt: int, draw: float) -> float:
        """Give the seconds to wait after failed attempt number ``attempt`` (from 1); ``draw`` is in [0, 1)."""
        if self.fixed is not None:
            return self.fixed
        doublings = min(max(attempt, 1) - 1, MAX_DOUBLINGS)
        return draw * min(self.cap, self.base * 2.0**doublings)


def is_success(answer: Answer | Failure, rules: Rules) -> TypeGuard[Answer]:
    """Say whether the receiver took the message.

    A success counts only where it arrived after the whole request was written: before that the receiver can't have
    seen what it says it took.
    """
    return isinstance(answer, Answer) and answer.status in rules.success and answer.request_written


def judge(
    answer: Answer | Failure, attempt: int, rules: Rules, backoff: Backoff, draw: float, unix_now: float
) -> Outcome:
    """Turn what came back into an outcome.

    ``attempt`` counts from 1, ``draw`` is in [0, 1), ``unix_now`` is for a Retry-After that is a date. No answer at
    all is tried again, and speaks against the endpoint unless we gave up ourselves.
    """
    if is_success(answer, rules):
        return Delivered(answer.status)
    if isinstance(answer, Failure):
        return Retry(backoff.delay(attempt, draw), answer.reason, None, fault=answer.reason not in OURS)
    status = answer.status
    if status in rules.success:
        return Retry(backoff.delay(attempt, draw), "answered before the request was written", status)
    reason = f"status {status}"
    if status in rules.reject:
        return Rejected(reason, status)
    slow_down = asked_delay(answer, unix_now) if status in (429, 503) else 0.0
    delay = retry_delay(answer, attempt, backoff, draw, unix_now)
    return Retry(delay, reason, status, fault=status in FAULTS, slow_down=slow_down)


def retry_delay(answer: Answer | Failure, attempt: int, backoff: Backoff, draw: float, unix_now: float) -> float:
    """Give the seconds until the next attempt, the arguments as in :func:`judge`.

    The receiver may ask for more than the back-off, never for less: one that asks for 0 would be asked again for ever,
    as fast as it can refuse.
    """
    return max(backoff.delay(attempt, draw), asked_delay(answer, unix_now))


def asked_delay(answer: Answer | Failure, unix_now: float) -> float:
    """Give the seconds that the receiver asks for by a Retry-After; 0 where it asks for none."""
    return retry_after(answer.header(b"retry-after"), unix_now) or 0.0 if isinstance(answer, Answer) else 0.0


def retry_after(value: bytes | None, unix_now: float) -> float | None:
    """Read a Retry-After (RFC 9110, section 10.2.3), seconds or a date, as seconds from now; ``None`` where it is none.

    At most the 12 hours for which SQS can hide a message.
    """
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        # More digits than this are a day at least; int() of a megabyte of them would take long.
        return float(min(MAX_HIDDEN_SECONDS, int(text))) if len(text) < 10 else float(MAX_HIDDEN_SECONDS)
    try:
        date = parsedate_to_datetime(text)
        # Without a zone, as in the form of asctime, it is UTC: RFC 9110, section 5.6.7.
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return min(float(MAX_HIDDEN_SECONDS), max(0.0, at - unix_now))


def hidden_seconds(delay: float, received_at: float, now: float) -> int:
    """Give the visibility timeout to ask for: whole seconds, and never past the 12 hours since the receive.

    ``received_at`` and ``now`` are instants on one clock. Rounded up, because a delay below a second would
    otherwise become 0, and a receiver that fails at once would be asked again at once for ever.
    """
    left = received_at + MAX_HIDDEN_SECONDS - now
    return max(0, min(math.ceil(delay), math.floor(left)))


def lease_end(start: float, visibility_timeout: float, received_at: float) -> float:
    """Give the instant until which a message may be held, where its visibility timeout counts from ``start``.

    A margin is taken off, the smaller of a second and a tenth of the timeout, for the way of the answer and for
    clocks: who holds a message past the end of its lease holds what SQS may have shown to somebody else.
    """
    lease = start + visibility_timeout - min(1.0, visibility_timeout / 10)
    return min(lease, received_at + MAX_HIDDEN_SECONDS)
