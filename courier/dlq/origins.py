"""The queues that dead letters came from, as targets of ``--to source``.

A redrive policy is known to SQS, which names the queues that have one. A failure queue has none: its messages say
themselves where they came from. Anybody who can send to a queue can write that, so only queues that the operator allows
count then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from courier.dlq.carrier import Target
from courier.dlq.dead_letter import DeadLetter

UNKNOWN: Final = "its source is unknown; give --to a queue"


class Origins(NamedTuple):
    """The possible targets, by the names of their queues; ``by_policy`` have a redrive policy that names the queue."""

    by_policy: Mapping[str, Target]
    allowed: Mapping[str, Target]

    def target_of(self, letter: DeadLetter) -> Target | str:
        """Return the queue that a dead letter came from, or why it is unknown."""
        if letter.source_arn:
            name = letter.source_arn.rpartition(":")[2]
            return (
                self.by_policy.get(name)
                or f"it came from {name}, whose redrive policy doesn't name this queue any more"
            )
        named = letter.failure.source_queue
        if named in self.allowed:
            return self.allowed[named]
        if named in self.by_policy:
            return self.by_policy[named]
        if len(self.by_policy) == 1 and not named:
            return next(iter(self.by_policy.values()))
        if named:
            return f"it says that it came from {named}; allow that with --source {named}"
        return UNKNOWN


def always(target: Target) -> Callable[[DeadLetter], Target | str]:
    """Return what returns the same target for each dead letter."""
    return lambda _: target


def names(targets: Sequence[Target]) -> str:
    """Return the names of queues for people."""
    return ", ".join(target.queue.name for target in targets)
