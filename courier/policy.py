"""What an answer means: the pure rules from an answer of the receiver to an outcome for the message."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from courier.http.answer import Answer, Failure

MAX_HIDDEN_SECONDS: Final = 43_200
"""SQS keeps a message invisible for at most 12 hours from its receive; extensions don't reset that."""

MAX_DOUBLINGS: Final = 32
"""Beyond this many doublings every cap is reached; it keeps ``2.0 ** n`` finite for any receive count."""


class Delivered(NamedTuple):
    """The receiver took the message: the whole request was written, and a complete success came back."""

    status: int


class Retry(NamedTuple):
    """Try again after ``delay`` seconds; ``reason`` is a short phrase for logs and counters."""

    delay: float
    reason: str
    status: int | None


Outcome = Delivered | Retry


class Backoff(NamedTuple):
    """Full-jitter exponential back-off: a delay drawn evenly from 0 to min(cap, base · 2^(attempt − 1)) seconds.

    Full jitter is what AWS's architecture notes on back-off found to clear a crowd of retries the fastest.
    """

    base: float
    cap: float

    def delay(self, attempt: int, draw: float) -> float:
        """Give the seconds to wait after failed attempt number ``attempt`` (from 1); ``draw`` is in [0, 1)."""
        doublings = min(max(attempt, 1) - 1, MAX_DOUBLINGS)
        return draw * min(self.cap, self.base * 2.0**doublings)


def judge(answer: Answer | Failure, attempt: int, backoff: Backoff, draw: float) -> Outcome:
    """Turn what came back into an outcome.

    Any 2xx that arrived after the whole request was written is a delivery. A 2xx that came earlier isn't: the
    receiver can't have seen what it says it took. Everything else is tried again.
    """
    if isinstance(answer, Failure):
        return Retry(backoff.delay(attempt, draw), answer.reason, None)
    if 200 <= answer.status < 300:
        if answer.request_written:
            return Delivered(answer.status)
        return Retry(backoff.delay(attempt, draw), "answered before the request was written", answer.status)
    return Retry(backoff.delay(attempt, draw), f"status {answer.status}", answer.status)


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
