"""The messages that a scan hides: kept hidden while it lasts, shown again at its end.

A message is hidden for longer each time, so that keeping many of them takes few calls. Whatever ends the program, none
stays hidden for longer than about the time that it has been hidden already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from courier.errors import SqsError
from courier.lease import boottime, hidden_seconds
from courier.message import Message
from courier.recipient.policy import Backoff
from courier.sqs.batch import EntryFailure

BATCH: Final = 10

CALLS: Final = 8
"""Calls at once that keep messages hidden, or show them again."""

ATTEMPTS: Final = 4
"""Attempts to show messages again."""

PAUSES: Final = Backoff(0.2, 2.0)

SHOW_SECONDS: Final = 10.0
"""Seconds of failures alone after which the rest is left to SQS: attempts for 100,000 messages would take an hour."""


class HideClient(Protocol):
    """The call that hides and shows messages; one that fails as a whole raises SqsError."""

    async def change_visibility(self, entries: Sequence[tuple[str, int]], /) -> list[EntryFailure | None]:
        """Change visibility timeouts (seconds from now); return the results in their order."""


class _Held:
    """A message that is hidden: its newest receipt handle, and when (boottime) it was received and must be hidden for
    longer."""

    __slots__ = ("due", "receipt", "received_at")

    def __init__(self, message: Message, due: float) -> None:
        self.receipt = message.receipt
        self.received_at = message.received_at
        self.due = due


class HiddenMessages:
    """Hides messages of one queue. ``stays_hidden`` is how many could not be shown again, ``failure`` the last error.

    They come back by themselves, within ``longest`` seconds.
    """

    def __init__(self, client: HideClient, visibility: int) -> None:
        """``visibility`` is for how many seconds each message is hidden by its receive."""
        self._client = client
        self._visibility = visibility
        self._held: dict[str, _Held] = {}
        self.longest = visibility
        self.stays_hidden = 0
        self.failure: SqsError | None = None
        self._failing_since: float | None = None

    def __len__(self) -> int:
        return len(self._held)

    def add(self, message: Message) -> bool:
        """Hide a message that was just received. Return whether it is new here: its 12 hours, or a lost call, may have
        shown one again that was hidden."""
        known = self._held.get(message.message_id)
        if known is not None and known.received_at > message.received_at:
            # Two receives crossed: the newer handle counts.
            return False
        self._held[message.message_id] = _Held(message, message.received_at + self._visibility / 2)
        return known is None

    def receipt(self, message: Message) -> str:
        """Return the newest receipt handle of a message."""
        held = self._held.get(message.message_id)
        return held.receipt if held is not None else message.receipt

    def forget(self, message_id: str) -> None:
        """Do nothing more about a message: it was deleted."""
        self._held.pop(message_id, None)

    async def keep(self) -> None:
        """Keep all hidden until cancelled."""
        while True:
            await asyncio.sleep(self._visibility / 10)
            now = boottime()
            await self._in_batches([held for held in self._held.values() if held.due <= now], self._extend)

    async def show(self, messages: Sequence[Message]) -> None:
        """Show messages again now."""
        held = [self._held.pop(m.message_id) for m in messages if m.message_id in self._held]
        await self._in_batches(held, self._show)

    async def show_all(self) -> None:
        """Show all messages again."""
        held = list(self._held.values())
        self._held.clear()
        await self._in_batches(held, self._show)

    async def _extend(self, batch: Sequence[_Held]) -> None:
        now = boottime()
        seconds = [hidden_seconds(max(self._visibility, now - h.received_at), h.received_at, now) for h in batch]
        # SQS shows one whose 12 hours are over: it is received anew, and recognised.
        entries = [(held.receipt, number) for held, number in zip(batch, seconds, strict=True) if number]
        try:
            if entries:
                await self._client.change_visibility(entries)
        except SqsError:
            # There is time for four more rounds before SQS shows them.
            return
        self.longest = max(self.longest, *seconds)
        for held, number in zip(batch, seconds, strict=True):
            held.due = now + max(number, self._visibility) / 2

    async def _show(self, batch: Sequence[_Held]) -> None:
        waiting = [held.receipt for held in batch]
        for attempt in range(1, ATTEMPTS + 1):
            if self._failing_since is not None and boottime() - self._failing_since > SHOW_SECONDS:
                break
            try:
                results = await self._client.change_visibility([(receipt, 0) for receipt in waiting])
            except SqsError as error:
                self.failure = error
                self._failing_since = self._failing_since or boottime()
                if not error.retriable:
                    break
            else:
                self._failing_since = None
                # One that isn't hidden any more needs nothing.
                waiting = [r for r, result in zip(waiting, results, strict=True) if result and not result.sender_fault]
            if not waiting:
                return
            await asyncio.sleep(PAUSES.delay(attempt, 1.0))
        self.stays_hidden += len(waiting)

    async def _in_batches(self, held: Sequence[_Held], act: Callable[[Sequence[_Held]], Awaitable[None]]) -> None:
        starts = iter(range(0, len(held), BATCH))

        async def work() -> None:
            for start in starts:
                await act(held[start : start + BATCH])

        await together([work() for _ in range(min(CALLS, -(-len(held) // BATCH)))])


async def together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; raise the first error, after the others were cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        for ended in asyncio.as_completed(tasks):
            await ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
