"""A task that moves the messages of a dead-letter queue to another queue, or back to the queues where they failed.

Its caller provides the time, and calls :meth:`MoveTask.step` when the next step is due. A moved message is a new one,
with a new id and send time and no receives. It keeps its body, attributes and group.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from courier.local.virtual.queue import VirtualQueue

RUNNING: Final = "RUNNING"
COMPLETED: Final = "COMPLETED"
CANCELLING: Final = "CANCELLING"
CANCELLED: Final = "CANCELLED"
FAILED: Final = "FAILED"
ACTIVE: Final = (RUNNING, CANCELLING)

NO_QUEUE: Final = "AWS.SimpleQueueService.NonExistentQueue"
NO_SOURCE: Final = "CouldNotDetermineMessageSource"
MOST_AT_ONCE: Final = 100
"""Messages that one step moves at most, so that other requests are answered meanwhile."""


class MoveTask:
    """One task. ``target`` is ``None`` if each message goes back to where it failed; ``rate`` is messages a second.

    ``current`` returns the queue that now has the ARN of a given one.
    """

    def __init__(
        self,
        source: VirtualQueue,
        target: VirtualQueue | None,
        rate: int | None,
        now: float,
        current: Callable[[VirtualQueue], VirtualQueue | None],
    ) -> None:
        self.task_id: Final = str(uuid.uuid4())
        self.source: Final = source
        self.target: Final = target
        self.rate: Final = rate
        self.started: Final = now
        self.to_move: Final = source.counts(now).visible
        self.moved = 0
        self.status = RUNNING
        self.failure = ""
        self._current = current

    @property
    def active(self) -> bool:
        """Whether the task still moves messages."""
        return self.status in ACTIVE

    def cancel(self) -> None:
        """Let the next step be the last. It moves nothing."""
        self.status = CANCELLING

    def step(self, now: float) -> set[VirtualQueue]:
        """Move the messages that are due at ``now``, and return the queues that got one."""
        changed: set[VirtualQueue] = set()
        if self.status == CANCELLING:
            self.status = CANCELLED
        elif self.source.deleted:
            self.status = FAILED
            self.failure = NO_QUEUE
        for _ in range(self._due(now)):
            target = self._move(now)
            if target is None:
                break
            changed.add(target)
            self.moved += 1
        return changed

    def next_step(self) -> float:
        """Return when the next message may be moved."""
        return self.started + self.moved / self.rate if self.rate else self.started

    def _due(self, now: float) -> int:
        if self.status != RUNNING:
            return 0
        if self.rate is None:
            return MOST_AT_ONCE
        # The first message is moved at the start, and each of the others when its part of a second is over.
        return min(MOST_AT_ONCE, int((now - self.started) * self.rate) + 1 - self.moved)

    def _move(self, now: float) -> VirtualQueue | None:
        """Move one message and return its new queue; end the task if there is none to move, or it can't be moved."""
        message = self.source.oldest(now)
        if message is None:
            self.status = COMPLETED
            return None
        wanted = self.target or message.source
        target = None if wanted is None else self._current(wanted)
        if target is None:
            self.status = FAILED
            self.failure = NO_SOURCE if wanted is None else NO_QUEUE
            return None
        target.accept_moved(message, now)
        self.source.discard(message)
        return target
