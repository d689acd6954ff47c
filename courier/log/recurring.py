"""Log lines for events that the outside can cause any number of times: at most one line a minute for each reason.

The first event is logged at once. Further events within the minute are counted; the worker's beat logs one line with
the count when the minute is over. So no queue, recipient or disk can fill the log, and no count is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Final

EVERY_SECONDS: Final = 60.0
"""Seconds between two lines with the same reason."""

MOST_REASONS: Final = 20
"""Maximum of separate reasons within a minute. Outside text can make up any number; the others share one line."""

OTHERS: Final = "other reasons"

# The lines that have logged something lately. Most lines never do, and each beat of each worker reports.
_active: set[RecurringLine] = set()


class RecurringLine:
    """A log line with its text and level. Threads may share it.

    ``times`` in a line is the number of occurrences of its reason since the previous line, including this one. Other
    fields are those of the last one. Only a line that is logged at once has a traceback.
    """

    __slots__ = ("_at_once", "_clock", "_event", "_level", "_lock", "_logger", "_reasons")

    def __init__(
        self,
        logger: Any,
        level: str,
        event: str,
        *,
        at_once: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``logger`` is structlog's. The first ``at_once`` occurrences within a minute are logged one by one."""
        self._logger = logger
        self._level = level
        self._event = event
        self._at_once = at_once
        self._clock = clock
        self._reasons: dict[Hashable, _Reason] = {}
        self._lock = threading.Lock()

    def __call__(self, of: Hashable, /, *, times: int = 1, **fields: object) -> None:
        """Log an occurrence, or count it if its reason ``of`` was logged within the last minute.

        ``times`` is the number of occurrences to add.
        """
        now = self._clock()
        with self._lock:
            reason = self._reasons.get(of)
            if reason is None:
                if len(self._reasons) >= MOST_REASONS:
                    of = OTHERS
                reason = self._reasons.setdefault(of, _Reason(now))
                _active.add(self)
            if now - reason.since >= EVERY_SECONDS:
                times += reason.times
                reason.since, reason.logged, reason.times, reason.fields = now, 0, 0, {}
            if reason.logged >= self._at_once:
                reason.times += times
                fields.pop("exc_info", None)
                reason.fields = fields
                return
            reason.logged += 1
        self._log(times, fields)

    def report(self, *, rest: bool = False) -> None:
        """Log the counts that are due; with ``rest``, log all counts, before the process ends."""
        now = self._clock()
        due: list[tuple[int, dict[str, object]]] = []
        with self._lock:
            for of, reason in list(self._reasons.items()):
                if not rest and now - reason.since < EVERY_SECONDS:
                    continue
                if reason.times:
                    due.append((reason.times, reason.fields))
                    reason.since, reason.logged, reason.times, reason.fields = now, self._at_once, 0, {}
                else:
                    del self._reasons[of]
            if not self._reasons:
                _active.discard(self)
        for times, fields in due:
            self._log(times, fields)

    def _log(self, times: int, fields: dict[str, object]) -> None:
        getattr(self._logger, self._level)(self._event, times=times, **fields)


class _Reason:
    __slots__ = ("fields", "logged", "since", "times")

    def __init__(self, since: float) -> None:
        self.since = since
        self.logged = 0
        self.times = 0
        self.fields: dict[str, object] = {}


def report_recurring(*, rest: bool = False) -> None:
    """Log the counts that are due for all lines of this process; see :meth:`RecurringLine.report`."""
    for line in list(_active):
        line.report(rest=rest)
