"""The feeder: the queue in memory from which the pipeline takes the records that are sent again.

It holds a few thousand messages at a time, so a replay takes the same memory whatever its size. It is served on a port
of 127.0.0.1, where other users of the machine may connect too: the name of the queue is a secret of the processes of
the replay, and only the calls that these make are answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog

from courier.audit.found import Found
from courier.errors import CannotStart
from courier.local.exchange import Handler, Request, Response
from courier.local.server import Server, serve
from courier.local.virtual.service import CONTENT_TYPE, LIMITS, TARGET_PREFIX, VirtualSqs
from courier.local.virtual.stored import StoredMessage
from courier.message import REDRIVE_OF
from courier.process import scoreboard
from courier.process.life import Life, Role
from courier.replay.answered import read_answered
from courier.replay.candidate import Candidate, Unsendable
from courier.replay.selection import Selection, Stopped, Tally
from courier.replay.verdict import Ending, Verdict
from courier.sqs.queue import QueueInfo

MOST_WAITING: Final = 4096
"""Messages in the queue at which the feeder waits."""

MOST_BYTES: Final = 64 * 1024**2
"""Bytes of these messages at which it waits."""

BATCH: Final = 512
"""Messages that are read at once."""

PAUSE_SECONDS: Final = 0.05
"""Seconds between two checks whether the queue has room, or is empty."""

AUDIT_PATIENCE_SECONDS: Final = 10.0
"""Seconds after which a replay stops whose records can't be made durable."""

RETENTION_SECONDS: Final = 10**12
"""How long the queue keeps a message, whose age counts from when it was first sent. No record is too old."""

CALLS: Final = frozenset(
    TARGET_PREFIX + action for action in ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
)
SEND: Final = TARGET_PREFIX + "SendMessageBatch"

log = structlog.get_logger("courier.replay")


@dataclass(frozen=True)
class Feed:
    """What is fed: the selection, the replay's own audit directory, the queues, and who hears how far it is.

    ``show`` gets the number of messages that are settled, some times a second. ``verdict`` gets how it ended. With
    ``give_up_seconds`` what is left is given up if all else was sent and none of it is settled for so long.
    """

    selection: Selection
    directory: Path
    queue: QueueInfo
    failures: QueueInfo
    verdict: Verdict
    give_up_seconds: float | None = None
    show: Callable[[int], None] = lambda settled: None
    close: Callable[[], None] = lambda: None


class Feeder(Role):
    """The role that holds the queue and feeds it, and ends the program when all is settled."""

    def __init__(self, life: Life, sqs: VirtualSqs, server: Server, feed: Feed) -> None:
        self._life = life
        self._sqs = sqs
        self._server = server
        self._feed = feed
        self._queue = sqs.registry.find(queue_name(feed.queue))
        self._queue.apply(self._queue.settings._replace(retention=RETENTION_SECONDS))
        self._tally = Tally()
        self._fed = 0
        self._failing_since = 0.0

    def start(self) -> None:
        """Feed, unless this worker replaces one that died: what that one had fed and lost isn't known."""
        if self._life.slot.words[scoreboard.RESTARTS]:
            self._stop(Ending.FEEDER_DIED)
        elif not self._life.draining.is_set():
            self._life.start(self._run())

    def beat(self) -> None:
        """Stop if nothing can be recorded."""
        failing = any(self._life.board.column(scoreboard.AUDIT_FAILING, "auditor"))
        now = time.monotonic()
        if not failing:
            self._failing_since = 0.0
        elif not self._failing_since:
            self._failing_since = now
        elif now - self._failing_since > AUDIT_PATIENCE_SECONDS:
            self._stop(Ending.CANNOT_RECORD)

    async def drain(self) -> None:
        """Answer the calls in progress, and stop."""
        self._feed.close()
        self._sqs.close()
        self._server.close()
        await self._server.wait_closed(1.0)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            answered = await loop.run_in_executor(None, read_answered, self._feed.directory)
            found = self._feed.selection.candidates(answered.delivered, self._tally, self._life.drains_all)
            while (batch := await loop.run_in_executor(None, _next_batch, found)) is not None:
                self._put(batch)
                while self._is_full():
                    self._show()
                    await asyncio.sleep(PAUSE_SECONDS)
                self._show()
        except Stopped:
            return
        except CannotStart as error:
            log.error("cannot read the records to send again", reason=error.reason, advice=error.advice)
            self._stop(Ending.CANNOT_READ)
            return
        self._stop(await self._wait_for_the_last())

    async def _wait_for_the_last(self) -> Ending:
        """Wait until what is left is settled, or nothing of it is for too long: it looks like an outage without end."""
        patience, fewest, since = self._feed.give_up_seconds, MOST_WAITING + BATCH, time.monotonic()
        while left := sum(self._queue.counts(self._sqs.clock())):
            self._show()
            if left < fewest:
                fewest, since = left, time.monotonic()
            elif patience is not None and time.monotonic() - since > patience:
                return Ending.GAVE_UP
            await asyncio.sleep(PAUSE_SECONDS)
        self._show()
        return Ending.FINISHED

    def _put(self, batch: list[Candidate]) -> None:
        now = self._sqs.clock()
        for candidate in batch:
            self._queue.restore(stored(candidate, now), now)
        self._fed += len(batch)
        if batch:
            self._sqs.changed(self._queue, now)

    def _is_full(self) -> bool:
        held = sum(self._queue.counts(self._sqs.clock()))
        return held >= MOST_WAITING or (held > 0 and self._queue.held_bytes() >= MOST_BYTES)

    def _show(self) -> None:
        self._feed.show(self._fed - sum(self._queue.counts(self._sqs.clock())))

    def _stop(self, ending: Ending) -> None:
        """Ask the supervisor to drain, as a user would."""
        if self._life.drains_all():
            return
        self._feed.verdict.give(ending)
        supervisor = self._life.board.supervisor.words[scoreboard.PID]
        if supervisor == os.getppid():
            os.kill(supervisor, signal.SIGTERM)


def stored(candidate: Candidate, now: float) -> StoredMessage:
    """Return a candidate as the queue holds it. Without a time in its record it counts as sent now (Unix seconds)."""
    body = candidate.body
    original = {"DataType": "String", "StringValue": candidate.redrive_of}
    return StoredMessage(
        body,
        hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        candidate.size,
        # What the recipient knew it by is sent again too.
        attributes={REDRIVE_OF: original} if candidate.redrive_of else None,
        group=candidate.group,
        message_id=candidate.message_id,
        # The queue tells whole milliseconds: half of one more, and no rounding of the float can reach another.
        sent=(candidate.sent_ms + 0.5) / 1000 if candidate.sent_ms else now,
        # Records don't say who sent a message.
        sender_id="",
    )


def _next_batch(found: Iterator[tuple[Found, Candidate | Unsendable] | None]) -> list[Candidate] | None:
    """Return the next messages, none if there were none for a while; ``None`` at the end. It blocks."""
    batch: list[Candidate] = []
    size = 0
    for each in found:
        if each is None:
            return batch
        if isinstance(each[1], Candidate):
            batch.append(each[1])
            size += each[1].size
            if len(batch) >= BATCH or size >= MOST_BYTES // 8:
                return batch
    return batch or None


def queue_name(queue: QueueInfo) -> str:
    """Return the name of a queue in memory, which is a secret and not the name that is shown."""
    return queue.url.rpartition("/")[2]


def door(sqs: VirtualSqs, failures: QueueInfo) -> Handler:
    """Return the handler of the server. It answers what the replay's processes ask, for queues whose names they know.

    No call that it answers tells the name of a queue.
    """

    def handle(request: Request) -> Response | Awaitable[Response]:
        target = request.headers.get("x-amz-target", "")
        if target == SEND:
            return take_failures(request, failures)
        return sqs.handle(request) if target in CALLS else Response(403)

    return handle


def take_failures(request: Request, failures: QueueInfo) -> Response:
    """Take messages that failed, and forget them: they are recorded, and the log that they come from has them.

    Whatever they hold, a failure queue that refused one would keep it from being settled.
    """
    try:
        asked = orjson.loads(request.body)
        if asked["QueueUrl"] != failures.url:
            return Response(403)
        taken = [
            {
                "Id": entry["Id"],
                "MessageId": entry["Id"],
                "MD5OfMessageBody": hashlib.md5(entry["MessageBody"].encode(), usedforsecurity=False).hexdigest(),
            }
            for entry in asked["Entries"]
        ]
        return Response(200, (CONTENT_TYPE,), orjson.dumps({"Successful": taken, "Failed": []}))
    except (AttributeError, KeyError, TypeError, ValueError):
        # Whoever sent this is none of the replay's processes, and must not end this one.
        return Response(400)


async def open_feeder(life: Life, feed: Feed) -> Role:
    """Serve the queue, and return the role that feeds it. Raise CannotStart if the port has been taken."""
    sqs = VirtualSqs()
    sqs.create_queue(queue_name(feed.queue), {"VisibilityTimeout": str(feed.queue.visibility_timeout)})

    host, port = feed.queue.endpoint.host, feed.queue.endpoint.port
    try:
        server = await serve(door(sqs, feed.failures), host, port, limits=LIMITS)
    except OSError as error:
        raise CannotStart(f"cannot serve the records on {host}:{port}: {error.strerror}; start it again") from None
    return Feeder(life, sqs, server, feed)
