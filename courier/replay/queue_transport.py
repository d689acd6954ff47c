"""A replay into a queue: the transport that sends each message with SendMessageBatch instead of a POST.

The rest of the sender is that of deliveries: a queue that is down opens the circuit breaker, and what the queue refuses
is rejected.
"""

from __future__ import annotations

import asyncio
import hashlib
import marshal
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from courier.errors import SqsError
from courier.http.answer import CANCELLED, Answer
from courier.http.exchange import Detached, Done, Exchange
from courier.http.file_body import Body
from courier.lease import boottime
from courier.message import MOST_MESSAGE_BYTES, Attribute, Message
from courier.request.head import OFF, DeliveryHead, HeadStyle
from courier.sender.rejection import size
from courier.sqs.client import Outgoing, SqsClient
from courier.sqs.errors import UNSENDABLE
from courier.sqs.queue import QueueInfo

BATCH: Final = 10

RUN_ATTRIBUTE: Final = "CourierReplay"
ID_ATTRIBUTE: Final = "CourierMessageId"

TAKEN: Final = 200
REFUSED: Final = 422
"""The queue refuses this message, whatever else it accepts."""

DOWN: Final = 503
"""The queue accepts nothing now."""


class QueueHead(DeliveryHead):
    """Renders what the transport needs to know of a message besides its body."""

    __slots__ = ()

    def __init__(self, queue: QueueInfo) -> None:
        super().__init__(queue.endpoint, queue.name, HeadStyle(headers="none", attributes=OFF))

    def render(
        self, message: Message, lines: bytes = b"", body: Body | None = None, required: bytes = b"", path: bytes = b""
    ) -> bytes:
        """Return the id and the group of a message."""
        return marshal.dumps((message.message_id, message.group))


class QueueTransport:
    """Sends messages to one queue, gathering those of one turn of the loop into batches.

    On a FIFO queue a message keeps its group; one without gets its id as the group. Its deduplication id is made of the
    replay's id and its own, so that within SQS's five minutes a repeat of this replay is dropped, and one of another
    replay is not.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, client: SqsClient, run_id: str, *, fifo: bool) -> None:
        self._loop = loop
        self._client = client
        self._run_id = run_id
        self._fifo = fifo
        self._waiting: deque[Exchange] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_planned = self._is_closed = False

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        """Send a message; ``done`` gets an Answer whose status says if the queue has it, refused it, or is down."""
        now = time.monotonic()
        exchange = Exchange(head, body, done, now, now + (timeout or 0.0))
        if self._is_closed:
            self._loop.call_soon(exchange.fail, CANCELLED, "the session is closed")
            return exchange
        exchange.connection = Detached(self._loop, exchange)
        self._waiting.append(exchange)
        if not self._is_planned:
            self._is_planned = True
            self._loop.call_soon(self._flush)
        return exchange

    def connect(self, done: Done) -> None:
        """Say that there is a connection: the client makes one when it sends."""
        self._loop.call_soon(done, Answer(0, [], b"", False, True, boottime(), 0.0))

    def close(self) -> None:
        """Cancel the calls under way."""
        self._is_closed = True
        self._client.close()

    def outgoing(self, exchange: Exchange) -> Outgoing:
        """Return the message as the queue gets it."""
        message_id, group = marshal.loads(exchange.head)
        body = exchange.body
        assert isinstance(body, bytes)  # that of a record
        attributes: Sequence[Attribute] = (
            Attribute(RUN_ATTRIBUTE, "String", self._run_id),
            Attribute(ID_ATTRIBUTE, "String", message_id),
        )
        if size(body, attributes) > MOST_MESSAGE_BYTES:
            attributes = ()
        if not self._fifo:
            return Outgoing(body, attributes, group)
        deduplication_id = hashlib.sha256(f"{self._run_id}\n{message_id}".encode()).hexdigest()
        return Outgoing(body, attributes, group or message_id, deduplication_id)

    def _flush(self) -> None:
        self._is_planned = False
        while self._waiting:
            batch: list[tuple[Exchange, Outgoing]] = []
            total = 0
            while self._waiting and len(batch) < BATCH:
                exchange = self._waiting[0]
                message = self.outgoing(exchange)
                total += size(message.body, message.attributes)
                if batch and total > MOST_MESSAGE_BYTES:
                    break
                batch.append((self._waiting.popleft(), message))
            self._start(batch)

    def _start(self, batch: list[tuple[Exchange, Outgoing]]) -> None:
        task = self._loop.create_task(self._send(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, batch: list[tuple[Exchange, Outgoing]]) -> None:
        try:
            results = await self._client.send([message for _, message in batch])
        except SqsError as error:
            if error.code == UNSENDABLE and len(batch) > 1:
                # One of them is to blame.
                for each in batch:
                    self._start([each])
                return
            status = REFUSED if error.code == UNSENDABLE else DOWN
            for exchange, _ in batch:
                _answer(exchange, status, f"{error.code}: {error.detail}")
            return
        for (exchange, _), failure in zip(batch, results, strict=True):
            if failure is None:
                _answer(exchange, TAKEN, "")
            else:
                _answer(exchange, REFUSED if failure.sender_fault else DOWN, f"{failure.code}: {failure.detail}")


def _answer(exchange: Exchange, status: int, text: str) -> None:
    exchange.connection = None
    duration = time.monotonic() - exchange.started
    exchange.finish(Answer(status, [], text.encode(errors="replace"), False, True, boottime(), duration))
