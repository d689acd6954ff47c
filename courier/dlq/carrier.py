"""What becomes of chosen dead letters before they leave their queue: copies for another queue, or nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from courier.dlq.dead_letter import DeadLetter
from courier.dlq.redriven import copy_of
from courier.errors import SqsError
from courier.message import MOST_MESSAGE_BYTES
from courier.recipient.policy import Backoff
from courier.sender.rejection import size
from courier.sqs.batch import EntryFailure, Outgoing
from courier.sqs.calls import SendClient
from courier.sqs.errors import NETWORK, UNREADABLE, Blame, blame
from courier.sqs.queue import QueueInfo

BATCH: Final = 10
BACKOFF: Final = Backoff(0.2, 10.0)

GIVE_UP_SECONDS: Final = 120.0
"""Seconds without a success after which a queue that takes nothing ends the redrive."""


class Target(NamedTuple):
    """A queue that copies go to, and its client."""

    queue: QueueInfo
    client: SendClient


class Carried(NamedTuple):
    """What became of a dead letter: where it went, or why it stays. ``to_queue`` is empty if it is dropped."""

    letter: DeadLetter
    to_queue: str = ""
    refusal: str = ""


class Carrier(Protocol):
    """Takes chosen dead letters to where they go. What it carried may be deleted."""

    maybe_twice: int
    """The number of messages that may have arrived twice, because an answer was lost."""

    def refusal(self, letter: DeadLetter) -> str:
        """Return why a dead letter can't be carried; empty if it can."""

    async def carry(self, letters: Sequence[DeadLetter], done: list[Carried]) -> None:
        """Carry up to 10 dead letters, in order; add what became of each to ``done``.

        Raise SqsError if nothing more can be carried. What is in ``done`` then was carried all the same.
        """


class Dropping:
    """Carries nothing anywhere."""

    maybe_twice = 0

    def refusal(self, letter: DeadLetter) -> str:
        """Return nothing: each can be dropped."""
        return ""

    async def carry(self, letters: Sequence[DeadLetter], done: list[Carried]) -> None:
        """Add each, to be deleted."""
        done += [Carried(letter) for letter in letters]


class Redriving:
    """Sends copies. ``target_of`` returns the target of a dead letter, or why it has none."""

    def __init__(
        self, target_of: Callable[[DeadLetter], Target | str], is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        """``is_stopping`` says that a failed call isn't to be repeated for long any more."""
        self.maybe_twice = 0
        self._target_of = target_of
        self._is_stopping = is_stopping
        self._failing_since: float | None = None

    def refusal(self, letter: DeadLetter) -> str:
        """Return why there can be no copy of a dead letter."""
        target = self._target_of(letter)
        if isinstance(target, str):
            return target
        copy = copy_of(letter, target.queue)
        return copy if isinstance(copy, str) else ""

    def target_name(self, letter: DeadLetter) -> str:
        """Return the name of the queue that a dead letter would go to, empty if there is none."""
        target = self._target_of(letter)
        return "" if isinstance(target, str) else target.queue.name

    async def carry(self, letters: Sequence[DeadLetter], done: list[Carried]) -> None:
        """Send a copy of each; one that its queue refuses stays where it is."""
        by_target: dict[str, tuple[Target, list[tuple[DeadLetter, Outgoing]]]] = {}
        for letter in letters:
            target = self._target_of(letter)
            copy = target if isinstance(target, str) else copy_of(letter, target.queue)
            if isinstance(target, str) or isinstance(copy, str):
                done.append(Carried(letter, refusal=str(copy)))
            else:
                by_target.setdefault(target.queue.url, (target, []))[1].append((letter, copy))
        for target, copies in by_target.values():
            for call in calls(copies, fifo=target.queue.fifo):
                await self._send(target, call, done)

    async def _send(self, target: Target, waiting: list[tuple[DeadLetter, Outgoing]], done: list[Carried]) -> None:
        attempt = 0
        while waiting:
            attempt += 1
            results = await self._try(target, waiting)
            again = []
            for each, failure in zip(waiting, results, strict=True):
                if failure is not None and not failure.sender_fault:
                    again.append(each)
                    continue
                self._failing_since = None
                refusal = f"{failure.code}: {failure.detail}" if failure is not None else ""
                done.append(Carried(each[0], target.queue.name, refusal))
            waiting = again
            if waiting:
                failure = next(failure for failure in results if failure is not None and not failure.sender_fault)
                if self._has_failed_long():
                    raise SqsError("SendMessageBatch", failure.code, failure.detail, retriable=True)
                await asyncio.sleep(BACKOFF.delay(attempt, 0.5 + random.random() / 2))

    async def _try(self, target: Target, waiting: list[tuple[DeadLetter, Outgoing]]) -> list[EntryFailure | None]:
        try:
            return await target.client.send([copy for _, copy in waiting])
        except SqsError as error:
            blamed = blame(error)
            if blamed is Blame.CALL and not error.retriable:
                raise
            if error.code in (NETWORK, UNREADABLE) and not target.queue.fifo:
                self.maybe_twice += len(waiting)
            return [EntryFailure(error.code, error.detail, blamed is not Blame.CALL)] * len(waiting)

    def _has_failed_long(self) -> bool:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        return self._is_stopping() or now - self._failing_since > GIVE_UP_SECONDS


def calls(copies: Sequence[tuple[DeadLetter, Outgoing]], *, fifo: bool) -> Iterator[list[tuple[DeadLetter, Outgoing]]]:
    """Yield the copies of each call, in order: what fits into one, and at most one of a FIFO group.

    The next one of a group is sent after the answer about the one before it: otherwise a failed entry would be
    overtaken.
    """
    call: list[tuple[DeadLetter, Outgoing]] = []
    total, groups = 0, set[str]()
    for letter, copy in copies:
        needed = size(copy.body, copy.attributes)
        if call and (len(call) == BATCH or total + needed > MOST_MESSAGE_BYTES or (fifo and copy.group in groups)):
            yield call
            call, total, groups = [], 0, set()
        call.append((letter, copy))
        total += needed
        groups.add(copy.group)
    if call:
        yield call
