"""Making records durable in groups: one fdatasync for all that came in since the last.

Whoever hands a record in gets its *item* back once the record is durable, and only then may act on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, Protocol, TypeVar

import structlog

from courier.errors import AuditError

GATHER_SECONDS: Final = 0.010
"""How long a record may wait for others, so that one fdatasync serves many."""

MOST_RECORDS: Final = 4096
"""Records of one fdatasync."""

RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
"""Pauses after a failed write; the last one is repeated. Deliveries resume within it once the disk is well."""

PROBE_SECONDS: Final = 1.0
"""How often an idle log is tried, so that a disk that fills up is known before the next delivery."""

WELL: Final = 0
FAILING: Final = 1
LOSING: Final = 2
"""States of the log. LOSING is FAILING under a policy that goes on without the record."""

NONE_FAILED: Final[Set[int]] = frozenset()

log = structlog.get_logger("courier.audit")

Item = TypeVar("Item")


class AuditLog(Protocol):
    """Where records go. All calls block, in one thread."""

    def append(self, lines: Sequence[bytes], /) -> None:
        """Make the lines durable, all of them, or raise AuditError, which tells those that aren't."""

    def rotate(self) -> None:
        """Start a new file with the next record."""

    def probe(self) -> None:
        """Raise AuditError where a record could not be made durable now."""

    def close(self) -> None:
        """Let go of the files."""


class Committer(Generic[Item]):
    """Gathers records and makes them durable. It lives in one event loop and blocks one thread.

    ``on_durable`` is given the items of each group whose records are durable, in order; with ``required`` false
    also those whose records are lost. ``on_state`` is told WELL, FAILING or LOSING when that changes.
    """

    def __init__(
        self,
        audit_log: AuditLog,
        on_durable: Callable[[Sequence[Item]], None],
        on_state: Callable[[int], None],
        *,
        required: bool = True,
        series: Callable[[Item], str] = lambda _: "",
    ) -> None:
        """``required``: nothing is given back without its record. ``series``: what must come back in order, if any."""
        self.pending_bytes = 0
        self.recorded = 0
        self.lost = 0
        self._log = audit_log
        self._on_durable = on_durable
        self._on_state = on_state
        self._required = required
        self._series = series
        self._state = WELL
        # What waits: the items, and beside them the lines, empty where the line is recorded already.
        self._items: list[Item] = []
        self._lines: list[bytes] = []
        self._most = MOST_RECORDS
        self._wake = asyncio.Event()
        self._hurry = False
        self._used_at = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._writing = False

    def add(self, item: Item, line: bytes) -> None:
        """Take a record; its item comes back through ``on_durable``."""
        self.extend((item,), (line,))

    def extend(self, items: Iterable[Item], lines: Sequence[bytes]) -> None:
        """Take the records of several items, in their order."""
        self._items += items
        self._lines += lines
        self.pending_bytes += sum(map(len, lines))
        self._wake.set()

    def hurry(self) -> None:
        """Gather no longer: the program is stopping."""
        self._hurry = True
        self._wake.set()

    def rotate(self) -> None:
        """Start a new file, where the log has files."""
        self._log.rotate()

    def close(self) -> None:
        """Close the log, unless a write still hangs in it: then the end of the process does."""
        if not self._writing:
            self._log.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self) -> None:
        """Commit whatever comes in, until cancelled."""
        failures = 0
        while True:
            await self._work_or_probe()
            if len(self._items) > 1 and not self._hurry:
                await asyncio.sleep(GATHER_SECONDS)
            if not self._items or await self._commit():
                failures = 0
                continue
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _work_or_probe(self) -> None:
        """Return when there are records to commit; meanwhile try the log now and then."""
        while not self._items:
            self._wake.clear()
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                if time.monotonic() - self._used_at >= PROBE_SECONDS and not self._hurry:
                    await self._probe()

    async def _probe(self) -> None:
        try:
            await self._in_thread(self._log.probe)
        except AuditError as error:
            self._failed(error)
        else:
            self._succeeded()

    async def _commit(self) -> bool:
        """Make a group durable and give its items back. ``False``: some records aren't durable, and wait on."""
        items, self._items = self._items[: self._most], self._items[self._most :]
        lines, self._lines = self._lines[: self._most], self._lines[self._most :]
        wanting = lines if all(lines) else [line for line in lines if line]
        failed = await self._append(wanting)
        self.pending_bytes -= sum(map(len, wanting))
        self.recorded += len(wanting) - len(failed)
        if not failed:
            self._most = min(MOST_RECORDS, self._most * 2)
            if not self._items or self._most == MOST_RECORDS:
                self._succeeded()
        elif self._required:
            items = self._keep(items, lines, failed)
        else:
            self.lost += len(failed)
        if items:
            self._on_durable(items)
        return not (failed and self._required)

    async def _append(self, lines: list[bytes]) -> Set[int]:
        """Write lines; gives the positions of those that aren't durable."""
        try:
            await self._in_thread(lambda: self._log.append(lines))
        except AuditError as error:
            self._failed(error)
            if error.failed is not None:
                return set(error.failed)
            if self._required:
                # What doesn't fit on a nearly full disk may fit in part.
                self._most = max(1, len(lines) // 2)
            return set(range(len(lines)))
        return NONE_FAILED

    def _keep(self, items: list[Item], lines: list[bytes], failed: Set[int]) -> list[Item]:
        """Let what isn't durable wait on, in order, and what comes after it in its series; gives the rest.

        ``failed`` are positions among the lines that were written: those that aren't empty.
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
        self.pending_bytes += sum(map(len, kept_lines))
        return durable

    async def _in_thread(self, work: Callable[[], None]) -> None:
        self._writing = True
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._writing = False
            self._used_at = time.monotonic()

    def _failed(self, error: AuditError) -> None:
        if self._state == WELL:
            self._set_state(FAILING if self._required else LOSING)
            if self._required:
                consequence = "nothing is deleted and intake pauses until it can be written again"
            else:
                consequence = "messages are deleted without their record until it can be written again"
            log.error(f"audit log failing: {consequence}", error=str(error), waiting=len(self._items))

    def _succeeded(self) -> None:
        if self._state != WELL:
            self._set_state(WELL)
            log.info("audit log is well again", records_lost=self.lost)

    def _set_state(self, state: int) -> None:
        self._state = state
        self._on_state(state)
