"""The trial of a message, by a real sender: with its preparation, its head, its transport and its policy.

So what is shown is what a run would send, by construction. The sender stands alone: there is no queue to delete from,
and its outcome goes nowhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from courier.board.recent_failures import RecentFailure, recent_failures
from courier.board.senders import SENDER
from courier.config.config import Config
from courier.errors import CannotStart
from courier.http.answer import Answer, Failure
from courier.lease import boottime
from courier.message import EVENT, EXTEND, LOST, Message, Settlement, pack_messages, unpack_settlements
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import run_role
from courier.process.life import Life
from courier.process.scoreboard import Scoreboard
from courier.sqs.queue import QueueInfo
from courier.trial.transport import Request, TrialTransport
from courier.wiring.recipient import transport_factory
from courier.wiring.roles import sender_role

LEASE_SECONDS: Final = 6 * 3600.0
"""A trial must not end because the message would have come again meanwhile."""

PATIENCE_SECONDS: Final = 120.0
"""Seconds that the request may take to be made: an object may have to be fetched."""

SETTLE_SECONDS: Final = 0.3
"""Seconds from the answer, or a failure, until the outcome. A sender that keeps the message says nothing."""

LOOK_SECONDS: Final = 0.01

T = TypeVar("T")


class Trial(NamedTuple):
    """What became of a message: its request, the answer, its failure, and its outcome; ``None`` for what there wasn't.

    A sender that keeps the message for another attempt has no outcome yet.
    """

    request: Request | None
    answer: Answer | Failure | None
    failure: RecentFailure | None
    settlement: Settlement | None


async def try_message(
    config: Config, queue: QueueInfo, failure_queue: QueueInfo | None, message: Message, *, post: bool
) -> Trial:
    """Make the request of a message; with ``post`` send it, once. Raise CannotStart."""
    # Its record and its event line say the reason of an outcome.
    config = replace(
        config,
        audit="files",
        audit_format="json",
        audit_events="all",
        traces="",
        batch_wait_seconds=0.0,
        rate_limit=None,
        senders=1,
    )
    loop = asyncio.get_running_loop()
    board = Scoreboard.create({"consumer": 1, SENDER: 1, "auditor": 1})
    board.supervisor.reals[scoreboard.STARTED] = time.monotonic()
    life = Life(board.slots(SENDER)[0], board, loop)
    work, acks = Channel.create("work"), Channel.create("acks")
    connect = transport_factory(config)
    transports: list[TrialTransport] = []

    def connected(loop: asyncio.AbstractEventLoop, tls: object) -> TrialTransport:
        transports.append(TrialTransport(loop, connect(loop, tls) if post else None))  # type: ignore[arg-type]
        return transports[0]

    role = await sender_role(config, queue, failure_queue, work, acks, connected)(life)
    sending = asyncio.create_task(run_role(role, life))
    beating = asyncio.create_task(_beat(life))
    transport, now = transports[0], boottime()
    settled, failed = asyncio.create_task(_settlement(acks)), asyncio.create_task(_failure(board))
    try:
        if not work.send(*pack_messages([message._replace(lease=now + LEASE_SECONDS, received_at=now)])):
            raise CannotStart("the message has no room in a socket; raise net.core.wmem_max")
        await _first(PATIENCE_SECONDS, transport.request, settled, failed, sending)
        if post and transport.request.done():
            await _first(config.timeout_seconds + PATIENCE_SECONDS, settled, failed, sending)
        if post or not transport.request.done():
            await _first(SETTLE_SECONDS, settled, sending)
        if sending.done():
            # A bug ends a sender; here it must not look like a request that never came.
            sending.result()
        return Trial(_result(transport.request), _result(transport.answer), _result(failed), _result(settled))
    finally:
        # Not a drain: what it would wait for, or give back, is nobody's.
        for task in (settled, failed, beating, sending):
            task.cancel()
        await asyncio.gather(settled, failed, beating, sending, return_exceptions=True)
        work.close()
        acks.close()


async def _beat(life: Life) -> None:
    """Beat as a worker does: the word of a silent one doesn't count."""
    while True:
        life.beat()
        await asyncio.sleep(0.5)


async def _failure(board: Scoreboard) -> RecentFailure:
    """Return the failure of the message, as a run would show it."""
    while not (found := recent_failures(board.slots(SENDER))):
        await asyncio.sleep(LOOK_SECONDS)
    return found[0]


async def _settlement(acks: Channel) -> Settlement:
    """Return the outcome of the message."""
    while True:
        received = acks.receive()
        if received is None:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        for packed in unpack_settlements(*received):
            settlement = Settlement._make(packed)
            if settlement.kind not in (EXTEND, EVENT, LOST):
                return settlement


async def _first(seconds: float, *awaited: Awaitable[object]) -> None:
    await asyncio.wait(
        [asyncio.ensure_future(each) for each in awaited], timeout=seconds, return_when="FIRST_COMPLETED"
    )


def _result(future: asyncio.Future[T]) -> T | None:
    return future.result() if future.done() and not future.cancelled() else None
