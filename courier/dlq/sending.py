"""The sending of many messages to one queue: at a rate, in batches, again after failures, in order on a FIFO queue.

At least once: a call without an answer is made again, and SQS may have taken its messages the first time. On a FIFO
queue their deduplication ids keep that from showing.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from courier.dlq.hidden import together
from courier.errors import SqsError
from courier.message import MOST_MESSAGE_BYTES
from courier.recipient.policy import Backoff
from courier.sender.rejection import size
from courier.sqs.batch import EntryFailure, Outgoing
from courier.sqs.errors import Blame, blame

BATCH: Final = 10
CALLS: Final = 8
"""Calls at once on a standard queue; on a FIFO queue one, for the order."""

AHEAD: Final = 1000
AHEAD_BYTES: Final = 32 * 1024**2
"""The most messages, and bytes of their bodies, that are read ahead."""

BACKOFF: Final = Backoff(0.1, 5.0)
GIVE_UP_SECONDS: Final = 60.0
"""Seconds for which no call may succeed before sending ends."""

STOP_SECONDS: Final = 2.0
"""Seconds for which calls under way are tried again after a stop."""

KEPT: Final = 20
"""Refusals that are kept to be named."""


class Numbered(NamedTuple):
    """A message, and its number in what it comes from, from 1."""

    number: int
    message: Outgoing


class Refused(NamedTuple):
    """A message that the queue refuses, or that isn't one, and why."""

    number: int
    reason: str


class SendCalls(Protocol):
    """The call of a sending. One that fails as a whole raises SqsError."""

    async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
        """Send messages; return the results in their order."""


class Sending:
    """Sends messages. ``sent`` and ``refused`` count them, and ``refusals`` has the first of those."""

    def __init__(
        self, client: SendCalls, *, fifo: bool, rate: float | None = None, progress: Callable[[int], None] | None = None
    ) -> None:
        """``rate`` is messages a second. ``progress`` gets the number of messages sent after each call."""
        self.sent = self.refused = 0
        self.refusals: list[Refused] = []
        self._client = client
        self._fifo = fifo
        self._rate = rate
        self._progress = progress or (lambda sent: None)
        self._most = BATCH if rate is None else max(1, min(BATCH, int(rate / 4)))
        self._taken = 0
        self._open: set[int] = set()
        self._due = time.monotonic()
        self._failing_since: float | None = None
        self._stopped_at: float | None = None

    @property
    def done(self) -> int:
        """The number up to which all messages were sent or refused."""
        return min(self._open) - 1 if self._open else self._taken

    def stop(self) -> None:
        """Take no more messages. Those under way are finished."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()

    async def run(self, source: Iterable[Numbered | Refused], stopped: asyncio.Event) -> None:
        """Send all that comes from ``source``, which may block, until ``stopped``.

        Raise SqsError if the queue takes nothing for long, and what ``source`` raises.
        """
        feed = _Feed(source)
        self._due = time.monotonic()
        lock = asyncio.Lock()

        async def work() -> None:
            while True:
                async with lock:
                    batch = await self._next_batch(feed)
                    if not batch:
                        return
                    await self._pace(len(batch), stopped)
                await self._send(batch)

        async def watch() -> None:
            await stopped.wait()
            self.stop()
            feed.close()

        watching = asyncio.create_task(watch())
        try:
            await together([work() for _ in range(1 if self._fifo else CALLS)])
        finally:
            watching.cancel()
            feed.close()
        if feed.error is not None and self._stopped_at is None:
            raise feed.error

    async def _next_batch(self, feed: _Feed) -> list[Numbered]:
        """Return the next messages that fit into one call; none at the end."""
        batch: list[Numbered] = []
        total, groups = 0, set[str]()
        while len(batch) < self._most and (item := await feed.peek(wait=not batch)) is not None:
            if isinstance(item, Refused):
                feed.take()
                self._taken = max(self._taken, item.number)
                self._refuse(item)
                continue
            message = item.message
            total += size(message.body, message.attributes)
            # A message of a FIFO group isn't sent before the answer about the one ahead of it is there.
            if batch and (total > MOST_MESSAGE_BYTES or (self._fifo and message.group in groups)):
                break
            groups.add(message.group)
            batch.append(item)
            feed.take()
            self._taken = max(self._taken, item.number)
            self._open.add(item.number)
        return batch

    async def _pace(self, messages: int, stopped: asyncio.Event) -> None:
        """Wait until the rate allows so many more messages."""
        if self._rate is None:
            return
        now = time.monotonic()
        # What was missed while the source or the queue was slow isn't made up for.
        self._due = max(self._due, now - 1.0)
        if (seconds := self._due - now) > 0:
            await _wait(stopped, seconds)
        self._due += messages / self._rate

    async def _send(self, batch: list[Numbered]) -> None:
        attempt = 0
        while batch:
            attempt += 1
            try:
                results = await self._client.send([each.message for each in batch])
            except SqsError as error:
                if blame(error) is not Blame.CALL:
                    # Each was refused alone: none of them passes.
                    results = [EntryFailure(error.code, error.detail, True)] * len(batch)
                elif not error.retriable or self._has_waited_long():
                    raise
                else:
                    await asyncio.sleep(BACKOFF.delay(attempt, 0.5 + random.random() / 2))
                    continue
            again = [each for each, failure in zip(batch, results, strict=True) if not self._settle(each, failure)]
            self._progress(self.sent)
            if again:
                if self._has_waited_long():
                    failure = next(failure for failure in results if failure is not None)
                    raise SqsError("SendMessageBatch", failure.code, failure.detail, retriable=True)
                await asyncio.sleep(BACKOFF.delay(attempt, 0.5 + random.random() / 2))
            batch = again

    def _settle(self, each: Numbered, failure: EntryFailure | None) -> bool:
        """Take note of the result of a message; return whether nothing more is to be done."""
        if failure is not None and not failure.sender_fault:
            return False
        self._open.discard(each.number)
        self._failing_since = None
        if failure is None:
            self.sent += 1
        else:
            self._refuse(Refused(each.number, f"{failure.code}: {failure.detail}"))
        return True

    def _refuse(self, refused: Refused) -> None:
        self.refused += 1
        if len(self.refusals) < KEPT:
            self.refusals.append(refused)

    def _has_waited_long(self) -> bool:
        """Return, after a failure, whether no call has succeeded for too long."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        stopped = self._stopped_at is not None and now - self._stopped_at > STOP_SECONDS
        return stopped or now - self._failing_since > GIVE_UP_SECONDS


class _Feed:
    """What a blocking source yields, read ahead in a thread of its own. ``error`` is what the source raised."""

    def __init__(self, source: Iterable[Numbered | Refused]) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[Numbered | Refused | None] = asyncio.Queue()
        self._room = threading.Condition()
        self._ahead = self._bytes = 0
        self._next: Numbered | Refused | None = None
        self.error: BaseException | None = None
        self._is_over = self._is_closed = False
        # Nothing waits for the thread at the end: it may sit in a read that never returns.
        threading.Thread(target=self._read, args=(source,), name="source", daemon=True).start()

    async def peek(self, *, wait: bool) -> Numbered | Refused | None:
        """Return the next item without taking it; ``None`` at the end, or if there is none and ``wait`` is false."""
        if self._next is None and not self._is_over and not self._is_closed:
            if not wait and self._waiting.empty():
                return None
            self._next = await self._waiting.get()
            if self._next is None:
                self._is_over = True
        return self._next

    def take(self) -> None:
        """Take the item that :meth:`peek` returned."""
        with self._room:
            self._ahead -= 1
            self._bytes -= _size(self._next)
            self._room.notify()
        self._next = None

    def close(self) -> None:
        """End: there is no next item any more."""
        if not self._is_closed:
            with self._room:
                self._is_closed = True
                self._room.notify()
            self._next = None
            self._waiting.put_nowait(None)

    def _read(self, source: Iterable[Numbered | Refused]) -> None:
        try:
            for item in source:
                with self._room:
                    self._room.wait_for(self._has_room)
                    self._ahead += 1
                    self._bytes += _size(item)
                if self._is_closed:
                    return
                self._put(item)
        except BaseException as error:
            self.error = error
        self._put(None)

    def _has_room(self) -> bool:
        return self._is_closed or (self._ahead < AHEAD and self._bytes < AHEAD_BYTES)

    def _put(self, item: Numbered | Refused | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, item)
        except RuntimeError:
            # The loop is closed.
            self._is_closed = True


def _size(item: Numbered | Refused | None) -> int:
    return len(item.message.body) if isinstance(item, Numbered) else 0


async def _wait(stopped: asyncio.Event, seconds: float) -> None:
    waiting: Awaitable[object] = asyncio.wait_for(stopped.wait(), seconds)
    try:
        await waiting
    except TimeoutError:
        return
