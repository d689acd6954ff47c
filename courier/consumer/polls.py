"""The receives of a consumer that are in progress, and which of them are overdue.

An overdue receive must not hold up the next one until its time-out: its connection may be dead. But it isn't cut, since
the messages of a late answer are charged a receive.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from courier.sqs.patience import Patience

OVERDUE_SECONDS: Final = 1.0
"""Seconds without an answer after its wait time that make a receive overdue, while SQS answers quickly."""


class Poll:
    """One receive: for how many messages, when it began, how long SQS may wait, whether it is overdue, and its task.

    ``attempt_id`` is the id by which a FIFO queue repeats a lost answer, ``None`` on other queues.
    """

    __slots__ = ("asked", "attempt_id", "began", "due", "is_overdue", "task", "wait_time")

    task: asyncio.Task[None]

    def __init__(self, asked: int, wait_time: int, began: float, patience: float) -> None:
        """``began`` is monotonic; ``wait_time`` and ``patience``, the time for the answer itself, are seconds."""
        self.asked = asked
        self.wait_time = wait_time
        self.began = began
        self.due = began + wait_time + patience
        self.is_overdue = False
        self.attempt_id: str | None = None


class Polls:
    """The receives in progress by their task.

    ``is_silent``: one has become overdue, and none has been answered since.
    """

    def __init__(self) -> None:
        self.tasks: Final[dict[asyncio.Task[None], Poll]] = {}
        self.overdue = 0
        self.is_silent = False
        self._look_at = math.inf
        self._patience = Patience(OVERDUE_SECONDS, math.inf)

    @property
    def on_time(self) -> int:
        """The number of receives whose answer may still come in time."""
        return len(self.tasks) - self.overdue

    def begin(self, asked: int, wait_time: int, now: float) -> Poll:
        """Return a receive that begins now."""
        poll = Poll(asked, wait_time, now, self._patience.seconds)
        self._look_at = min(self._look_at, poll.due) if self.is_silent else self._look_at
        return poll

    def end(self, task: asyncio.Task[None]) -> None:
        """Leave out a receive that has ended."""
        poll = self.tasks.pop(task, None)
        if poll is not None and poll.is_overdue:
            self.overdue -= 1

    def answered(self, poll: Poll, now: float) -> None:
        """Note that SQS answers, and learn from the time of the answer how long the next may take."""
        self.is_silent = False
        self._patience.answered(now - poll.began - poll.wait_time, now)

    def look(self, now: float) -> float:
        """Note when the next receive becomes overdue, for :meth:`become_overdue`; return the seconds until then.

        No receive sets a timer: the consumer calls this about once a second.
        """
        self._look_at = min((poll.due for poll in self.tasks.values() if not poll.is_overdue), default=math.inf)
        return self._look_at - now

    def become_overdue(self, now: float) -> int:
        """Mark the receives that have become overdue, and return how many messages they asked for."""
        if now < self._look_at:
            return 0
        new = [poll for poll in self.tasks.values() if not poll.is_overdue and poll.due <= now]
        for poll in new:
            poll.is_overdue = True
        self.overdue += len(new)
        self.is_silent = self.is_silent or bool(new)
        self.look(now)
        return sum(poll.asked for poll in new)
