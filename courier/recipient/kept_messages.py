"""Rules for messages kept in memory after a failure: how long, and when each is tried again. Pure.

A message that goes back to its queue costs another receive when it returns. After ``maxReceiveCount`` receives it is a
dead letter. So a message goes back only if the failure is likely its own fault. There are three cases:

- *In doubt*: no sender has delivered another message since it failed. The recipient may be at fault, so the message is
  tried again soon. Meanwhile either other messages are delivered, or the faults and refusals open the circuit breaker.
  Once others are delivered, a message that was in doubt for a while has another attempt: the recipient may just be
  back.
- *Often*: the recipient delivers some messages and fails for many others, and trying again works. The message is tried
  again after its back-off.
- *Neither*: other messages are delivered, so this one goes back. A FIFO run first waits for one visibility timeout,
  because going back costs all messages of the run a receive.

A message for which no connection was made stays, because it can't be the cause. A message in doubt also stays while the
senders keep ALONE or more messages in total. Any other message stays at most for :func:`kept_seconds`: otherwise a
message alone in its queue would never reach the dead-letter queue.
"""

from __future__ import annotations

from typing import Final

from courier.http.answer import Answer, Failure
from courier.lease import MAX_HIDDEN_SECONDS
from courier.recipient.policy import MAX_DOUBLINGS, Retry

KEPT_SECONDS: Final = 900.0
"""Seconds for which a message is kept at its first receive. They double with each further receive."""

SHORTEST_PAUSE_SECONDS: Final = 0.05
"""Minimum seconds before another attempt from memory, so that a recipient that fails immediately isn't flooded."""

LONGEST_PAUSE_SECONDS: Final = 2.0
"""Maximum seconds between two attempts in doubt: the faults must soon be enough to open the circuit breaker."""

LONGEST_OFTEN_SECONDS: Final = 10.0
"""Maximum seconds between two attempts while the recipient fails often: longer back-offs are for the queue."""

REFUSED_PAUSE_SECONDS: Final = 1.0
LONGEST_REFUSED_PAUSE_SECONDS: Final = 60.0
"""Minimum and maximum seconds between attempts in doubt of a refused message. They are longer because repeated refusals
of one message count only once."""

HOLD_SECONDS: Final = 60.0
"""Seconds of an outage for which senders keep messages in memory. After that other Couriers may try them."""

ALONE: Final = 3
"""Fewer messages than this don't show that the recipient is at fault, so :func:`kept_seconds` limits their time."""

MOST_KEPT: Final = 1000
MOST_KEPT_BYTES: Final = 64 * 1024 * 1024
"""Messages, and bytes of their bodies, that one sender keeps. Above either it receives no others."""

FREE_SLOT_SECONDS: Final = 1.0
"""Seconds for which the only slot of a sender stays free for a new message, before one in doubt is tried again."""

OUTDATED_SECONDS: Final = 1.0
"""Seconds after which the only failure of a message may belong to an outage of the recipient that is over."""

UNKNOWN: Final = -1
"""In place of a number of deliveries: those during an outage, and at its end, say nothing about a message."""


class FailingMessage:
    """A message that has failed at least once since its last receive.

    - ``since``, ``at``: instants of the first and the last failure, in monotonic seconds; ``attempts`` counts them.
    - ``again``: how many failures after the first lengthen the back-off. Only failures that follow a
      delivery of another message count.
    - ``delivered``: what all senders had delivered when the message was last kept; UNKNOWN before that, and during an
      outage that is forgiven.
    - ``spared``: one outage has been forgiven. No other is, because a bad message may start one outage after another.
    - ``probes``: failed probes during an outage; ``tried_in``: the outage (its first instant) in which the message had
      its turn.
    - ``answer``, ``outcome``: of the last attempt; ``asked``: the seconds of its Retry-After, or of --retry-delay.
    - ``is_unsent``: no connection was made.
    - ``is_known``: the message was refused at an earlier receive, and others have been delivered since.
    """

    __slots__ = (
        "again",
        "answer",
        "asked",
        "at",
        "attempts",
        "delivered",
        "is_known",
        "is_unsent",
        "outcome",
        "probes",
        "since",
        "spared",
        "tried_in",
    )

    def __init__(self, now: float) -> None:
        """Start before the first failure, which the caller records with :meth:`failed`."""
        self.since = self.at = now
        self.delivered = UNKNOWN
        self.attempts = self.again = self.probes = 0
        self.tried_in = self.asked = 0.0
        self.is_unsent = self.is_known = self.spared = False
        self.answer: Answer | Failure = Failure("", "", 0.0)
        self.outcome = Retry(0.0, "", None)

    def failed(
        self, answer: Answer | Failure, outcome: Retry, now: float, *, asked: float = 0.0, is_unsent: bool = False
    ) -> None:
        """Record a failed attempt."""
        self.attempts += 1
        self.answer, self.outcome, self.at = answer, outcome, now
        self.asked, self.is_unsent = asked, is_unsent

    def stopped(self) -> None:
        """Record that receiving has stopped: the recipient may be at fault."""
        if not self.spared:
            self.delivered = UNKNOWN


def is_in_doubt(failing: FailingMessage, delivered: int, *, refusals_stop: bool, faults_stop: bool) -> bool:
    """Return whether the recipient may be at fault: no sender has delivered anything since the last failure.

    ``delivered`` is what all senders have delivered. ``refusals_stop`` and ``faults_stop`` say whether many refusals or
    faults stop receiving. If nothing stops receiving for such failures, the message is at fault.
    """
    outcome = failing.outcome
    if not failing.attempts:
        return True
    stops = (refusals_stop and not failing.is_known) if outcome.refusal else (outcome.fault and faults_stop)
    return stops and failing.delivered in (UNKNOWN, delivered)


def kept_seconds(receives: int) -> float:
    """Return the seconds for which a message is kept at that receive count; three receives last 1¾ hours."""
    return min(float(MAX_HIDDEN_SECONDS), KEPT_SECONDS * 2.0 ** min(max(receives, 1) - 1, MAX_DOUBLINGS))


def pause_in_doubt(failing: FailingMessage) -> float:
    """Return the seconds until the next attempt of a message in doubt."""
    shortest, longest = (
        (REFUSED_PAUSE_SECONDS, LONGEST_REFUSED_PAUSE_SECONDS)
        if failing.outcome.refusal
        else (SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    )
    return max(failing.asked, min(longest, shortest * 2.0 ** min(failing.attempts, MAX_DOUBLINGS)))


def is_given_up(failing: FailingMessage, receives: int, now: float) -> bool:
    """Return whether a message at that receive count has been kept for its full time."""
    return not failing.is_unsent and now - failing.since >= kept_seconds(receives)


def is_outdated(failing: FailingMessage, now: float) -> bool:
    """Return whether the last failure may belong to an outage that is over, given that other messages have since been
    delivered.

    On a busy queue a message at fault is recognized immediately, and has no further attempt.
    """
    return failing.attempts > 1 or now - failing.at >= OUTDATED_SECONDS


def next_attempt(
    failing: FailingMessage,
    receives: int,
    now: float,
    *,
    in_doubt: bool,
    often: bool,
    alone: bool = True,
    run_seconds: float = 0.0,
) -> float | None:
    """Return the instant of the next attempt from memory; ``None`` if the message goes back to its queue.

    ``in_doubt`` and ``often`` are the states of the module's docstring; ``alone``: fewer than ALONE messages are kept.
    ``run_seconds`` is the visibility timeout of a FIFO run that has messages behind this one, otherwise 0.
    """
    back_off = failing.at + max(SHORTEST_PAUSE_SECONDS, failing.outcome.delay)
    if in_doubt or often:
        if (alone or not in_doubt) and is_given_up(failing, receives, now):
            return None
        if in_doubt:
            return failing.at + pause_in_doubt(failing)
        return min(back_off, failing.at + max(failing.asked, LONGEST_OFTEN_SECONDS))
    return back_off if back_off - failing.since <= run_seconds else None


def slots_to_try(limit: int, taken: int, failed_at: float, now: float) -> int:
    """Return how many messages in doubt a sender with ``taken`` of ``limit`` slots taken may try again now.

    A new message says more about the recipient, and must not wait behind them. So one slot stays free for a new
    message. If there is only one slot, it stays free for a moment after the last failure (``failed_at``).
    """
    free = limit - taken
    return free - 1 if limit > 1 or now - failed_at < FREE_SLOT_SECONDS else free
