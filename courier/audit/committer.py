"""Making records durable in groups: one write and one fdatasync for all that came in since the last.

Whoever hands a record in gets its *item* back once the record is durable, and only then may act on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, Protocol, TypeVar

import structlog

from courier.errors import AuditError

GATHER_SECONDS: Final = 0.010
"""How long a record may wait for others, so that one fdatasync serves many."""

MOST_RECORDS: Final = 4096
"""Records of one write and one fdatasync."""

RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
"""Pauses after a failed write; the last one is repeated. Deliveries resume within it once the disk is well."""

PROBE_SECONDS: Final = 1.0
"""How often an idle log is tried, so that a disk that fills up is known before the next delivery."""

WELL: Final = 0
FAILING: Final = 1
LOSING: Final = 2
"""States of the log. LOSING is FAILING under a policy that goes on without the record."""

log = structlog.get_logger("courier.audit")

Item = TypeVar("Item")
_Records = list[tuple[Item, bytes]]


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
        self._pending: _Records[Item] = []
        self._most = MOST_RECORDS
        self._wake = asyncio.Event()
        self._hurry = False
        self._used_at = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._writing = False

    def add(self, item: Item, line: bytes) -> None:
        """Take a record; its item comes back through ``on_durable``."""
        self._pending.append((item, line))
        self.pending_bytes += len(line)
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
            if len(self._pending) > 1 and not self._hurry:
                await asyncio.sleep(GATHER_SECONDS)
            if not self._pending or await self._commit():
                failures = 0
                continue
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _work_or_probe(self) -> None:
        """Return when there are records to commit; meanwhile try the log now and then."""
        while not self._pending:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), PROBE_SECONDS)
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
        group, self._pending = self._pending[: self._most], self._pending[self._most :]
        # One that is recorded already, and waits for an earlier one of its series, has no line any more.
        wanting = [n for n, (_, line) in enumerate(group) if line]
        failed = await self._append(group, wanting)
        self.recorded += len(wanting) - len(failed)
        kept: _Records[Item] = []
        if failed and self._required:
            durable, kept = self._part(group, failed)
            self._pending[:0] = kept
        else:
            durable = [item for item, _ in group]
            self.lost += len(failed)
        self.pending_bytes -= sum(len(line) for _, line in group) - sum(len(line) for _, line in kept)
        if not failed:
            self._most = min(MOST_RECORDS, self._most * 2)
            if not self._pending or self._most == MOST_RECORDS:
                self._succeeded()
        if durable:
            self._on_durable(durable)
        return not kept

    async def _append(self, group: _Records[Item], wanting: list[int]) -> set[int]:
        """Write the lines at some positions of a group; gives the positions of those that aren't durable."""
        lines = [group[n][1] for n in wanting]
        try:
            await self._in_thread(lambda: self._log.append(lines))
        except AuditError as error:
            self._failed(error)
            if error.failed is not None:
                return {wanting[n] for n in error.failed}
            if self._required:
                # What doesn't fit on a nearly full disk may fit in part.
                self._most = max(1, len(group) // 2)
            return set(wanting)
        return set()

    def _part(self, group: _Records[Item], failed: set[int]) -> tuple[list[Item], _Records[Item]]:
        """Part a group whose records are durable but for ``failed``: what is given back, and what waits on in order."""
        durable: list[Item] = []
        kept: _Records[Item] = []
        held_back: set[str] = set()
        for n, (item, line) in enumerate(group):
            series = self._series(item)
            if n in failed:
                kept.append((item, line))
                if series:
                    held_back.add(series)
            elif series in held_back:
                kept.append((item, b""))
            else:
                durable.append(item)
        return durable, kept

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
            log.error(f"audit log failing: {consequence}", error=str(error), waiting=len(self._pending))

    def _succeeded(self) -> None:
        if self._state != WELL:
            self._set_state(WELL)
            log.info("audit log is well again", records_lost=self.lost)

    def _set_state(self, state: int) -> None:
        self._state = state
        self._on_state(state)
