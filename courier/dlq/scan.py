"""A scan of a queue: every message that can be received, once, and hidden from others until the scan ends.

A look at a queue is a receive, which counts. So a scan receives each message once and keeps it hidden. What the caller
doesn't delete is shown again at the end.

Two limits of SQS bound what a scan can see. On a FIFO queue a message can't be received while an earlier one of its
group is hidden, so what a caller keeps hides the rest of its group. And a queue hides at most about 120,000 messages at
once, which also bounds the memory of a scan.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from courier.dlq.dead_letter import DeadLetter, dead_letter
from courier.dlq.hidden import BATCH, HiddenMessages, HideClient, together
from courier.errors import SqsError
from courier.message import Message
from courier.recipient.policy import Backoff
from courier.sqs.batch import EntryFailure
from courier.sqs.queue import QueueDepth
from courier.sqs.received import Received

WAIT_SECONDS: Final = 1
"""Seconds of a long poll, which asks all servers of SQS: a short poll can be empty though messages wait."""

VISIBILITY_SECONDS: Final = 120
"""Seconds for which a message is hidden first: for so long it stays hidden if the scan is killed soon."""

EMPTY: Final = 2
"""Receives in a row without a message after which a queue that counts none is empty."""

EMPTY_AT_LEAST: Final = 4
"""Receives in a row without a message after which a scan ends, whatever the queue counts: its count is late, or counts
what nobody can receive now."""

EMPTY_SECONDS: Final = 3.0
"""Seconds since the last message that those receives must have taken."""

ATTEMPTS: Final = 8
"""Attempts of a call until its failure ends the scan."""

BACKOFF: Final = Backoff(0.2, 10.0)

HIDDEN_LIMIT: Final = 110_000
"""Hidden messages of a queue from which on its limit of about 120,000 may be why it shows no more."""

SOURCE_ARN: Final = "DeadLetterQueueSourceArn"
"""The system attribute with the ARN of the queue that a redrive policy took a message from."""

T = TypeVar("T")


class ScanClient(HideClient, Protocol):
    """The calls of a scan, by :class:`courier.sqs.client.SqsClient`. One that fails as a whole raises SqsError."""

    async def receive(self, count: int, wait_time_seconds: int, visibility_timeout: int, /) -> Received:
        """Receive up to ``count`` messages."""

    async def delete(self, receipts: Sequence[str], /) -> list[EntryFailure | None]:
        """Delete messages by receipt handle; return the results in their order."""

    async def depth(self) -> QueueDepth:
        """Return how many messages the queue holds."""


class Scan:
    """Receives the messages of one queue, each once. Use it as an asynchronous context, whose end shows the rest again.

    Any number of tasks may call :meth:`next` at once; each gets other messages. ``seen`` counts the messages so far,
    ``corrupt`` those whose body isn't what its MD5 says, which nobody gets. ``left`` is what the queue counted when the
    scan had seen all it could, and ``None`` before, and after :meth:`stop`; ``held_then`` is what the scan hid then.
    """

    def __init__(self, client: ScanClient, *, visibility: int = VISIBILITY_SECONDS) -> None:
        """``visibility`` is for how many seconds a message is hidden first."""
        self._client = client
        self._visibility = visibility
        self._hidden = HiddenMessages(client, visibility)
        self._empty = 0
        self._last_at = time.monotonic()
        self._is_over = False
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.seen = self.corrupt = 0
        self.left: QueueDepth | None = None
        self.held_then = 0

    @property
    def held(self) -> int:
        """The number of messages that are hidden by this scan."""
        return len(self._hidden)

    @property
    def stays_hidden(self) -> int:
        """The number of messages that could not be shown again: they come back within :attr:`longest_hidden`."""
        return self._hidden.stays_hidden

    @property
    def hide_failure(self) -> SqsError | None:
        """The last error of a call that was to show messages again."""
        return self._hidden.failure

    @property
    def longest_hidden(self) -> int:
        """The most seconds for which a message has been hidden at once."""
        return self._hidden.longest

    @property
    def is_over(self) -> bool:
        """Whether nothing more is received."""
        return self._is_over

    async def __aenter__(self) -> Self:
        """Begin to keep hidden what is received."""
        self._keeper = asyncio.create_task(self._hidden.keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show again what wasn't deleted."""
        self.stop()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._hidden.show_all()

    def stop(self) -> None:
        """Receive nothing more: :meth:`next` returns nothing from now on."""
        self._is_over = True
        self._stopping.set()

    async def next(self, most: int = BATCH) -> list[Message]:
        """Return the next messages, up to ``most`` (at most 10), none at the end.

        Those of a group come in order. Raise SqsError if the queue can't be received from for long.
        """
        while not self._is_over:
            received = await self._again(lambda: self._client.receive(most, WAIT_SECONDS, self._visibility))
            self.corrupt += received.corrupt
            fresh = [message for message in received.messages if self._hidden.add(message)]
            if received.messages:
                self._empty, self._last_at = 0, time.monotonic()
            if self._stopping.is_set():
                break
            self.seen += len(fresh)
            if fresh:
                return fresh
            if not received.messages and not received.corrupt:
                await self._count_empty()
        return []

    async def each(self, handle: Callable[[list[Message]], Awaitable[object]], *, receivers: int = 4) -> None:
        """Call ``handle`` with all messages, up to 10 at a time, in as many tasks at once; raise its first error."""

        async def receive() -> None:
            while messages := await self.next():
                await handle(messages)

        await together([receive() for _ in range(receivers)])

    async def delete(self, messages: Sequence[Message]) -> list[EntryFailure | None]:
        """Delete up to 10 messages of this scan; return their results in order: ``None`` for success.

        What could not be deleted stays hidden until the end of the scan.
        """
        waiting = {message.message_id: message for message in messages}
        failed: dict[str, EntryFailure] = {}
        for attempt in range(1, ATTEMPTS + 1):
            for message_id, failure in zip(list(waiting), await self._delete(list(waiting.values())), strict=True):
                if failure is None:
                    self._hidden.forget(message_id)
                    failed.pop(message_id, None)
                else:
                    failed[message_id] = failure
                if failure is None or failure.sender_fault:
                    del waiting[message_id]
            if not waiting:
                break
            await self._pause(attempt)
        return [failed.get(message.message_id) for message in messages]

    async def show(self, messages: Sequence[Message]) -> None:
        """Show messages again at once, instead of at the end. The scan may then receive them anew."""
        await self._hidden.show(messages)

    async def _delete(self, messages: Sequence[Message]) -> list[EntryFailure | None]:
        try:
            return await self._client.delete([self._hidden.receipt(message) for message in messages])
        except SqsError as error:
            return [EntryFailure(error.code, error.detail, not error.retriable)] * len(messages)

    async def _count_empty(self) -> None:
        """Take note of a receive without a message; end the scan if there are none."""
        self._empty += 1
        if self._empty < EMPTY or self._is_over:
            return
        held = self.held
        depth = await self._again(self._client.depth)
        patience_is_over = self._empty >= EMPTY_AT_LEAST and time.monotonic() - self._last_at >= EMPTY_SECONDS
        if patience_is_over or (self._empty >= EMPTY and not depth.waiting):
            self.left, self.held_then = depth, max(held, self.held)
            self._is_over = True

    async def _again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call, again after a failure that may pass. Raise its SqsError at last, or after :meth:`stop`."""
        attempt = 1
        while True:
            try:
                return await call()
            except SqsError as error:
                if not error.retriable or attempt == ATTEMPTS or self._stopping.is_set():
                    raise
            await self._pause(attempt)
            attempt += 1

    async def _pause(self, attempt: int) -> None:
        """Back off after a failed attempt; after :meth:`stop` only briefly."""
        seconds = BACKOFF.delay(attempt, 1.0)
        if self._stopping.is_set():
            await asyncio.sleep(min(seconds, BACKOFF.base))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def letter_of(message: Message) -> DeadLetter:
    """Return a message of a scan as a dead letter. Its client must keep the system attributes."""
    return dead_letter(message, next((value for name, value in message.system if name == SOURCE_ARN), ""))


def why_unseen(left: QueueDepth | None, held: int, *, fifo: bool) -> list[str]:
    """Return a line for each reason why a scan that has ended may not have seen all messages of the queue.

    ``held`` is how many messages the scan hid when it ended. The numbers of SQS are approximate.
    """
    if left is None:
        return []
    lines = []
    others = max(0, left.in_flight - held)
    if left.waiting and held + others >= HIDDEN_LIMIT:
        lines.append(
            f"about {left.waiting} were not seen: SQS hides no more than 120,000 messages of a queue at once; "
            "take some out first, with --where or --limit"
        )
    elif left.waiting and fifo and held:
        lines.append(
            f"about {left.waiting} were not seen: on a FIFO queue a message can't be received while an earlier one "
            "of its group is hidden"
        )
    elif left.waiting:
        lines.append(f"about {left.waiting} were not seen, though they wait: the count of SQS may be a minute late")
    if left.delayed:
        lines.append(f"about {left.delayed} were not seen: they are delayed")
    if others:
        lines.append(
            f"about {others} were not seen: somebody else received them, or a command that was killed hides them, or "
            "the count of SQS is late"
        )
    return lines
