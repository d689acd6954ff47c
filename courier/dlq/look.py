"""A look at the dead letters of a queue: each is received once, judged, handed on if it is chosen, and shown again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from courier.dlq.audit_reasons import AuditReasons, Stopped
from courier.dlq.choice import Choice
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.hidden import BATCH
from courier.dlq.scan import Scan, letter_of, why_unseen
from courier.dlq.session import Session
from courier.errors import CannotStart, SqsError
from courier.message import Message
from courier.sqs.advice import advice
from courier.sqs.queue import QueueInfo

RECEIVERS: Final = 4
"""Receives at once."""

FEW: Final = 100
"""The limit up to which no more is received than is wanted: each look costs a receive."""


@dataclass
class Seen:
    """What a look has met: ``chosen`` of ``seen`` messages, and what is worth saying about others.

    ``undecided`` took too long to judge, and ``corrupt`` ones aren't what SQS says of them. ``unseen`` has lines on why
    there may be more. ``stays_hidden`` could not be shown again, for ``longest_hidden`` seconds at most, and
    ``hide_failure`` says why.
    """

    seen: int = 0
    chosen: int = 0
    undecided: int = 0
    corrupt: int = 0
    stays_hidden: int = 0
    longest_hidden: int = 0
    unseen: Sequence[str] = ()
    hide_failure: str = ""


async def look(
    session: Session,
    queue: QueueInfo,
    choice: Choice,
    reasons: AuditReasons,
    act: Callable[[Sequence[DeadLetter]], None],
    limit: int | None = None,
    progress: Callable[[int], None] = lambda seen: None,
) -> Seen:
    """Hand the chosen dead letters of a queue to ``act``, up to ``limit``, and show all of them again afterwards.

    ``progress`` gets the number of messages received so far.
    Raise CannotStart if the queue can't be received from, and what ``act`` raises.
    """
    found = Seen()
    failures: list[Exception] = []
    try:
        async with Scan(session.client(queue)) as scan:

            def stop() -> None:
                scan.stop()
                reasons.stop()

            async def handle(messages: Sequence[Message]) -> None:
                try:
                    await take(messages)
                except Exception as error:
                    # Receives under way are waited for: the messages of one that is cancelled would stay hidden.
                    failures.append(error)
                    scan.stop()

            async def take(messages: Sequence[Message]) -> None:
                letters = await reasons.complete([letter_of(message) for message in messages])
                chosen = [letter for letter in letters if choice.admits(letter)]
                if limit is not None:
                    chosen = chosen[: limit - found.chosen]
                found.chosen += len(chosen)
                progress(scan.seen)
                if chosen:
                    act(chosen)
                if found.chosen == limit:
                    scan.stop()

            session.when_stopped(stop)
            if limit is not None and limit <= FEW and choice.takes_all:
                while messages := await scan.next(min(BATCH, limit - found.chosen)):
                    await handle(messages)
            else:
                await scan.each(handle, receivers=RECEIVERS)
            found.unseen = why_unseen(scan.left, scan.held, fifo=queue.fifo)
    except SqsError as error:
        raise CannotStart(f"{error}; {advice(error)}") from None
    if failures and not isinstance(failures[0], Stopped):
        raise failures[0]
    found.seen, found.corrupt, found.undecided = scan.seen, scan.corrupt, choice.undecided
    found.stays_hidden, found.longest_hidden = scan.stays_hidden, scan.longest_hidden
    if scan.hide_failure is not None:
        found.hide_failure = f"{scan.hide_failure}; {advice(scan.hide_failure)}"
    return found
