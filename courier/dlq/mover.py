"""The moving of dead letters: received, chosen, carried, recorded, deleted; each step only after the one before it.

A kill between two steps leaves a message in the dead-letter queue, which shows it again. So a copy may be sent twice,
and none is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from courier.dlq.carrier import Carried, Carrier
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.hidden import BATCH, together
from courier.dlq.move_record import MoveRecorder
from courier.dlq.returns import Returns
from courier.dlq.scan import Scan
from courier.errors import CourierError, SqsError
from courier.message import Message
from courier.sqs.queue import QueueDepth

WORKERS: Final = 8
"""Batches under way at once."""

COUNT_EVERY_SECONDS: Final = 5.0
"""Seconds between two counts of the dead-letter queue."""

REFUSALS: Final = 10

MOST_KEYS: Final = 1000
OTHERS: Final = "other reasons"

MOST_BYTES: Final = 16 * 1024**2
"""Bytes of bodies under way from which on no more are received until some are done."""


class DurableLog(Protocol):
    """A log whose lines are durable once they are appended."""

    async def append(self, lines: Sequence[bytes], /) -> None:
        """Make lines durable. Raise AuditError."""


def add_bounded(counts: Counter[str], key: str) -> None:
    """Count a key that a message may have made up: there are never more than so many, and one for all others."""
    counts[key if key in counts or len(counts) < MOST_KEYS else OTHERS] += 1


@dataclass
class Moved:
    """What has become of the dead letters so far.

    ``chosen`` meet the filter, ``moved`` have left their queue. ``refused`` counts those that can't be moved, by the
    reason; ``examples`` names some of them. ``undeleted`` have a copy and could not be deleted, so they come again; and
    so do ``unrecorded`` ones, whose lines could not be made durable. ``returned`` are copies that came back meanwhile.
    """

    chosen: int = 0
    moved: int = 0
    undeleted: int = 0
    unrecorded: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)
    targets: Counter[str] = field(default_factory=Counter)
    returned: int = 0

    def refuse(self, letter: DeadLetter, reason: str) -> None:
        """Count a dead letter that can't be moved."""
        add_bounded(self.refused, reason)
        if len(self.examples) < REFUSALS:
            self.examples.append((letter.message_id, reason))


class Pace:
    """A rate that all tasks share; what was missed isn't made up for."""

    def __init__(self, rate: float | None) -> None:
        """``rate`` is messages a second, ``None`` for no limit."""
        self._rate = rate
        self._due = 0.0
        self.batch: Final = BATCH if rate is None else max(1, min(BATCH, int(rate / 4)))
        """How many messages go at once, so that they spread over a second."""

    def seconds(self, messages: int, now: float) -> float:
        """Return the seconds to wait before so many messages go; they count from then on."""
        if self._rate is None:
            return 0.0
        self._due = max(self._due, now)
        wait = self._due - now
        self._due += messages / self._rate
        return wait


class Mover:
    """Moves what is chosen of a scan's messages.

    ``read`` returns messages as dead letters with what is known of them; ``admits`` chooses. Without a ``returns`` what
    comes back isn't looked for.
    """

    def __init__(
        self,
        scan: Scan,
        carrier: Carrier,
        log: DurableLog,
        record: MoveRecorder,
        read: Callable[[Sequence[Message]], Awaitable[Sequence[DeadLetter]]],
        admits: Callable[[DeadLetter], bool],
        *,
        limit: int | None = None,
        frugal: bool = False,
        rate: float | None = None,
        returns: Returns | None = None,
        count: Callable[[], Awaitable[QueueDepth]] | None = None,
        say: Callable[[str], None] = lambda _: None,
        show: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``limit`` is how many are moved at most; if ``frugal``, no more than that are received. ``count`` counts the
        queue of the scan.

        ``say`` gets lines for the operator, ``show`` the number of messages that have been moved.
        """
        self.moved = Moved()
        self.error: CourierError | None = None
        self._scan = scan
        self._carrier = carrier
        self._log = log
        self._record = record
        self._read = read
        self._admits = admits
        self._left = limit
        self._frugal = frugal and limit is not None
        self._pace = Pace(rate)
        self._returns = returns
        self._count = count
        self._say = say
        self._show = show
        self._stopped = asyncio.Event()
        self._bytes = 0
        self._begun = 0
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Finish what is under way, and begin nothing more."""
        self._scan.stop()
        self._stopped.set()

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is begun."""
        return self._stopped.is_set()

    async def run(self) -> None:
        """Move until all are seen, the limit is reached, or :meth:`stop`. ``error`` is what ended it early."""
        counting = asyncio.create_task(self._keep_counting()) if self._returns is not None and self._count else None
        try:
            await together([self._work(number) for number in range(1 if self._frugal else WORKERS)])
        finally:
            if counting is not None:
                counting.cancel()
                await asyncio.wait([counting])

    async def _work(self, number: int) -> None:
        try:
            await self._wait_for_room(number)
            while messages := await self._scan.next(min(BATCH, self._left or 1) if self._frugal else BATCH):
                size = sum(len(message.body) for message in messages)
                self._account(size)
                await self._handle(messages)
                self._account(-size)
                if self._left == 0:
                    self._scan.stop()
                del messages
                await self._wait_for_room(0)
        except CourierError as error:
            # The others finish what they have begun.
            self.error = self.error or error
            self.stop()

    async def _wait_for_room(self, begun: int) -> None:
        """Wait until so many batches have been received, and their bodies aren't too many bytes.

        At first nobody knows how large they are.
        """
        while (self._bytes > MOST_BYTES or self._begun < begun) and not self._scan.is_over:
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 1.0)

    def _account(self, size: int) -> None:
        self._bytes += size
        self._begun += size > 0
        self._changed.set()

    async def _handle(self, messages: Sequence[Message]) -> None:
        chosen = self._choose(await self._read(messages))
        for start in range(0, len(chosen), self._pace.batch):
            await self._move(chosen[start : start + self._pace.batch])

    def _choose(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Return what is to be moved, as far as the limit allows; the rest stays hidden until the end of the scan."""
        returns = self._returns
        if returns is not None:
            fresh = [letter for letter in letters if not returns.is_return(letter)]
            if back := len(letters) - len(fresh):
                self.moved.returned += back
                self._note_pause(lambda returns: returns.add_seen(back, time.monotonic()))
            letters = fresh
        sound = []
        for letter in letters:
            if not self._admits(letter):
                continue
            if reason := self._carrier.refusal(letter):
                self.moved.refuse(letter, reason)
            else:
                sound.append(letter)
        if self._left is not None:
            sound = sound[: self._left]
            self._left -= len(sound)
        self.moved.chosen += len(sound)
        return sound

    async def _move(self, letters: Sequence[DeadLetter]) -> None:
        await self._wait_for_turn(len(letters))
        if self.is_stopping:
            return
        done: list[Carried] = []
        try:
            await self._carrier.carry(letters, done)
        finally:
            await self._settle(done)

    async def _settle(self, done: Sequence[Carried]) -> None:
        """Record and delete what was carried."""
        for each in done:
            if each.refusal:
                self.moved.refuse(each.letter, each.refusal)
                self._left = None if self._left is None else self._left + 1
        carried = [each for each in done if not each.refusal]
        if not carried:
            return
        try:
            await self._log.append([self._record(each.letter, each.to_queue, time.time()) for each in carried])
        except CourierError:
            self.moved.unrecorded += len(carried)
            raise
        results = await self._scan.delete([each.letter.message for each in carried])
        deleted = results.count(None)
        self.moved.moved += deleted
        self.moved.undeleted += len(carried) - deleted
        self.moved.targets.update(each.to_queue for each in carried)
        if self._returns is not None:
            self._returns.add_redriven(len(carried), self.moved.moved, time.monotonic())
        self._show(self.moved.moved)

    async def _wait_for_turn(self, messages: int) -> None:
        """Wait until the rate and the pauses allow so many messages, or until :meth:`stop`."""
        await self._sleep(self._pace.seconds(messages, time.monotonic()))
        while self._returns is not None and (pause := self._returns.pause_seconds(time.monotonic())):
            await self._sleep(pause)
            if self.is_stopping:
                return

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), seconds)

    async def _keep_counting(self) -> None:
        assert self._returns is not None
        assert self._count is not None
        while True:
            with suppress(SqsError):
                total = sum(await self._count())
                self._note_pause(lambda returns, total=total: returns.add_count(total, time.monotonic()))  # type: ignore[misc]
            await asyncio.sleep(COUNT_EVERY_SECONDS)

    def _note_pause(self, note: Callable[[Returns], None]) -> None:
        """Take note of what may begin a pause; say so if it does."""
        assert self._returns is not None
        pauses = self._returns.pauses
        note(self._returns)
        if self._returns.pauses > pauses:
            seconds = self._returns.pause_seconds(time.monotonic())
            self._say(
                f"redriven messages come back to the dead-letter queue ({self.moved.moved} redriven so far): pausing "
                f"for {seconds:.0f} s; find out why they fail, or press Ctrl-C to stop"
            )
