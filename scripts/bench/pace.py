"""Messages at a steady pace: sent one by one, each with the time at which the call to send it began."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import uvloop

from courier.sqs.client import Outgoing, SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from scripts.bench.servers import Queue

_PAD: Final = b"x" * 180


class Ages(NamedTuple):
    """The ages of messages on arrival, in milliseconds."""

    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Ages:
        """Return the summary of at least two ages in seconds."""
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        return cls(cuts[49] * 1000, cuts[98] * 1000, max(seconds) * 1000)


@asynccontextmanager
async def client_of(queue: Queue) -> AsyncIterator[SqsClient]:
    """Yield a client of a queue; it is closed at the end."""
    aws = aws_configuration(os.environ)
    info = await asyncio.to_thread(resolve_queue, aws, queue.url, None, queue.endpoint)
    credentials = CredentialSource(aws.find_keys, info.region)
    client = SqsClient(asyncio.get_running_loop(), info, credentials)
    try:
        yield client
    finally:
        client.close()
        credentials.close()


async def send_steadily(client: SqsClient, rate: float, count: int) -> None:
    """Send ``count`` messages, ``rate`` a second. Late ones follow at once. Raise SystemExit if one is refused."""
    begun = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        if (await client.send([Outgoing(dated(time.monotonic(), number))]))[0] is not None:
            raise SystemExit("the queue refused a message")


def send_one(queue: Queue, at: float) -> None:
    """Send one message that carries an instant; see :func:`dated`. Raise SystemExit if it is refused."""

    async def send() -> None:
        async with client_of(queue) as client:
            if (await client.send([Outgoing(dated(at))]))[0] is not None:
                raise SystemExit("the queue refused a message")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())


def dated(at: float, number: int = 0) -> bytes:
    """Return a body of about 220 bytes that carries an instant, in seconds on CLOCK_MONOTONIC.

    The bench's own recipient reports how long ago that was on arrival (:mod:`scripts.bench.sink`).
    """
    return b'{"at":%.6f,"number":%d,"pad":"%s"}' % (at, number, _PAD)
