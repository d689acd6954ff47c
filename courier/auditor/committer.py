"""The committer: it makes records durable in groups, with one fdatasync for all records since the last one.

Each record belongs to an *item*. The caller gets the item back once its record is durable, and only then may act on it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Final, Generic, TypeVar

from courier.auditor.event_buffer import EventBuffer
from courier.auditor.log_state import LogState
from courier.auditor.log_thread import LogThread
from courier.errors import AuditError
from courier.lease import boottime

GATHER_SECONDS: Final = 0.010
"""Seconds that records may wait for more, so that one fdatasync covers many. A single urgent one doesn't wait."""

IDLE_GATHER_SECONDS: Final = 0.050
"""The same while few wait and none is urgent: a sync costs as much for one record as for many."""

MANY_RECORDS: Final = 64
MANY_BYTES: Final = 1 << 20
"""Waiting records, and bytes of them, that are many: a longer wait would gain little."""

SHORTEST_WAIT_SECONDS: Final = 0.001
"""The shortest wait: uvloop counts in milliseconds, and a wait rounded to zero would spin."""

MOST_RECORDS: Final = 4096
"""Maximum records of one fdatasync."""

RETRY_SECONDS: Final = (0.2, 0.5, 1.0)
"""Pauses after failed writes, in seconds; the last one repeats. Once the disk recovers, intake resumes within
the last one, which has to be well below 2 s: deliveries must go on within that after an outage."""

PROBE_SECONDS: Final = 10.0
"""Seconds between two probes of an idle log, which detect a full disk before the next delivery."""

FAILING_PROBE_SECONDS: Final = 1.0
"""The same once it fails: intake pauses until a probe or a write succeeds."""


NONE_FAILED: Final[Set[int]] = frozenset()

Item = TypeVar("Item")


class Committer(Generic[Item]):
    """Gathers records and makes them durable. It runs in one event loop and blocks one thread.

    It calls ``on_durable`` with the items of each group whose records are durable, in order; if ``required`` is false,
    also with those whose records are lost. It calls ``on_state`` with WELL, FAILING or LOSING when that changes.
    """

    def __init__(
        self,
        log_thread: LogThread,
        on_durable: Callable[[Sequence[Item]], None],
        on_state: Callable[[int], None],
        *,
        required: bool = True,
        series: Callable[[Item], str] = lambda _: "",
    ) -> None:
        """With ``required``, no item comes back without its record. Items of one ``series`` come back in order."""
        self.pending_bytes = 0
        self.recorded = 0
        self.lost = 0
        self.events = EventBuffer()
        self._thread = log_thread
        self._on_durable = on_durable
        self._required = required
        self._series = series
        self._state = LogState(on_state, required=required)
        # The waiting items and their lines. A line is empty if its record is durable already.
        self._items: list[Item] = []
        self._lines: list[bytes] = []
        self._most = MOST_RECORDS
        # The time from which one of the waiting items is urgent, and the time until which the committer gathers.
        self._patient_until = math.inf
        self._due_at = 0.0
        self._pausing: asyncio.Future[None] | None = None
        self._hurry = False

    def add(self, item: Item, line: bytes) -> None:
        """Add a record; ``on_durable`` gets its item back."""
        self.extend((item,), (line,))

    def extend(self, items: Iterable[Item], lines: Sequence[bytes], patient_until: float = math.inf) -> None:
        """Add the records of several items, in their order.

        From ``patient_until`` (seconds on CLOCK_BOOTTIME) on they are urgent, as are all others that wait.
        """
        is_first, were_few = not self._items, self._are_few()
        self._items += items
        self._lines += lines
        self.pending_bytes += sum(map(len, lines))
        hastens = patient_until < self._patient_until
        if hastens:
            self._patient_until = patient_until
        if is_first or (hastens and patient_until < self._due_at) or (were_few and not self._are_few()):
            self._wake()

    def note(self, line: bytes) -> None:
        """Write an event line with the next group, which doesn't come earlier because of it."""
        if self.events.add(line, time.monotonic()) and not self._items:
            # The idle committer looks when it is due.
            self._wake()

    def stop_gathering(self) -> None:
        """Stop waiting for larger groups, because the program is stopping."""
        self._hurry = True
        self.events.hurry()
        self._wake()

    def rotate(self) -> None:
        """Start a new file, if the log has files."""
        self._thread.rotate()

    async def finish(self, seconds: float) -> None:
        """Let the log do what is left to do at the end; see :meth:`AuditLog.finish`."""
        await self._thread.finish(seconds)

    def close(self) -> None:
        """Close the log; see :meth:`LogThread.close`."""
        self._thread.close()

    async def run(self) -> None:
        """Commit the added records until cancelled."""
        failures = 0
        while True:
            await self._work_or_probe()
            await self._gather()
            if not self._items or await self._commit():
                failures = 0
                continue
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _work_or_probe(self) -> None:
        """Return when there are records to commit; until then, probe the log once in a while."""
        while not self._items:
            every = PROBE_SECONDS if self._state.is_well else FAILING_PROBE_SECONDS
            left = math.inf if self._hurry else every - self._thread.idle_seconds()
            alone = self.events.seconds_to_write(time.monotonic()) if self._state.is_well else math.inf
            if left <= 0:
                await self._probe()
            elif alone <= 0:
                await self._write_events()
            else:
                await self._pause(min(every, max(SHORTEST_WAIT_SECONDS, min(left, alone))))

    async def _write_events(self) -> None:
        """Write event lines while no records come. A failure counts only if a record couldn't be written either."""
        events = self.events.take(time.monotonic())
        try:
            self.events.wrote(events, await self._thread.append([], events))
        except AuditError:
            self.events.failed(events, time.monotonic())
            await self._probe()

    async def _gather(self) -> None:
        """Wait for more records as long as that is worth it."""
        began = time.monotonic()
        while (left := self._seconds_to_gather(time.monotonic() - began)) >= SHORTEST_WAIT_SECONDS:
            self._due_at = boottime() + left
            await self._pause(left)
        self._due_at = 0.0

    def _seconds_to_gather(self, waited: float) -> float:
        """Return for how long to wait for more records after ``waited`` seconds."""
        if self._hurry:
            return 0.0
        left = GATHER_SECONDS - waited if len(self._items) > 1 else 0.0
        if self._are_few():
            left = max(left, min(IDLE_GATHER_SECONDS - waited, self._patient_until - boottime()))
        return left

    def _are_few(self) -> bool:
        """Return whether so few records wait that more are worth a longer wait."""
        return len(self._items) < MANY_RECORDS and self.pending_bytes < MANY_BYTES

    async def _pause(self, seconds: float) -> None:
        """Return when something calls for another look, after so many seconds at the latest."""
        # Cheaper than an event with a timeout, which get the running loop several times: a system call on Python 3.11.
        loop = asyncio.get_running_loop()
        self._pausing = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._pausing
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)

    async def _probe(self) -> None:
        try:
            await self._thread.probe()
        except AuditError as error:
            self._state.failed(error, len(self._items))
        else:
            self._state.succeeded(self.lost)

    async def _commit(self) -> bool:
        """Make a group durable and give its items back. Return ``False`` if some records still wait."""
        items, self._items = self._items[: self._most], self._items[self._most :]
        lines, self._lines = self._lines[: self._most], self._lines[self._most :]
        if not self._items:
            self._patient_until = math.inf
        wanting = lines if all(lines) else [line for line in lines if line]
        failed = await self._append(wanting)
        self.pending_bytes -= sum(map(len, wanting))
        self.recorded += len(wanting) - len(failed)
        if not failed:
            self._most = min(MOST_RECORDS, self._most * 2)
            if not self._items or self._most == MOST_RECORDS:
                self._state.succeeded(self.lost)
        elif self._required:
            items = self._hold_back(items, lines, failed)
        else:
            self.lost += len(failed)
        if items:
            self._on_durable(items)
        return not (failed and self._required)

    async def _append(self, lines: list[bytes]) -> Set[int]:
        """Write lines, and event lines along with them; return the positions of those that aren't durable.

        While the log fails it gets the records alone.
        """
        events = self.events.take(time.monotonic()) if self.events and self._state.is_well else []
        try:
            self.events.wrote(events, await self._thread.append(lines, events))
        except AuditError as error:
            self.events.failed(events, time.monotonic())
            self._state.failed(error, len(self._items))
            if error.failed is not None:
                return {position for position in error.failed if position < len(lines)}
            if self._required and not events:
                # A smaller group may fit on a nearly full disk.
                self._most = max(1, len(lines) // 2)
            return set(range(len(lines)))
        return NONE_FAILED

    def _hold_back(self, items: list[Item], lines: list[bytes], failed: Set[int]) -> list[Item]:
        """Put items that aren't durable, and the later ones of their series, back in order; return the others.

        ``failed`` are positions among the written lines, which are those that aren't empty.
        """
        durable: list[Item] = []
        kept: list[Item] = []
        kept_lines: list[bytes] = []
        held_back: set[str] = set()
        position = -1
        for item, line in zip(items, lines, strict=True):
            series = self._series(item)
            position += bool(line)
            if line and position in failed:
                kept.append(item)
                kept_lines.append(line)
                if series:
                    held_back.add(series)
            elif series in held_back:
                kept.append(item)
                kept_lines.append(b"")
            else:
                durable.append(item)
        self._items[:0] = kept
        self._lines[:0] = kept_lines
        self._patient_until = 0.0
        self.pending_bytes += sum(map(len, kept_lines))
        return durable
