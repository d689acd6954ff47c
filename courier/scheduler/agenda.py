"""The agenda: which tasks are to be enqueued now. Pure: the clock is passed in, as minutes since 1970.

A task that is due more than once before it could be enqueued is enqueued once, for its latest time: what piles up while
the queue or the program is away must not flood it afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from courier.scheduler.tasks import Task

GRACE_MINUTES: Final = 4
"""How far back a task still counts as due, after a start or a stop of the clock.

aws-sqsd looks back five minutes. SQS recognises a deduplication id for five minutes after the first message with it, so
a replica that looks back four can't enqueue a task again that another one has enqueued in time.
"""

CLOCK_SET_BACK_MINUTES: Final = 180
"""A clock that is this far behind the minutes that are done was wrong before, and is right now, as cron assumes."""


class Due(NamedTuple):
    """A task and the minute at which it was due."""

    task: Task
    minute: int


class Agenda:
    """What is due, and not enqueued yet.

    ``done_until`` is a minute: whatever was due until then is enqueued, or missed. It is all that a successor of the
    process must know.
    """

    def __init__(self, tasks: Sequence[Task], done_until: int) -> None:
        self.done_until = done_until
        self._tasks = tasks
        self._pending: dict[str, Due] = {}
        self._seen_until = done_until

    def look(self, now: int) -> list[Due]:
        """Take note of the tasks that have become due until ``now``. Return those that are missed for good.

        A task is missed if it was due before the grace, or is due again before it was enqueued.
        """
        if now <= self._seen_until:
            # The clock may have been set back a little: what was done stays done.
            if now < self._seen_until - CLOCK_SET_BACK_MINUTES:
                self._seen_until = self.done_until = now
            return []
        missed: list[Due] = []
        since = max(self._seen_until, now - GRACE_MINUTES)
        for task in self._tasks:
            if since > self._seen_until and (first := task.schedule.next_after(self._seen_until)) <= since:
                missed.append(Due(task, first))
            latest = task.schedule.latest(since, now)
            if latest is not None:
                if task.name in self._pending:
                    missed.append(self._pending[task.name])
                self._pending[task.name] = Due(task, latest)
        self._seen_until = now
        self._note_done()
        return missed

    @property
    def pending(self) -> list[Due]:
        """The tasks to enqueue, the earliest first."""
        return sorted(self._pending.values(), key=lambda due: (due.minute, due.task.name))

    def settle(self, due: Due) -> None:
        """Note that a task is in the queue, or can never be."""
        if self._pending.get(due.task.name) == due:
            del self._pending[due.task.name]
        self._note_done()

    def _note_done(self) -> None:
        earliest = min((due.minute for due in self._pending.values()), default=self._seen_until + 1)
        self.done_until = max(self.done_until, min(self._seen_until, earliest - 1))
