"""Both ends of the pipeline for a trial: a producer of random messages, and a recipient."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from courier.config.loading import environment
from courier.errors import CannotStart, SqsError
from courier.local.exchange import Request, Response, ServerLimits
from courier.local.records import outgoing, random_record
from courier.local.server import serve
from courier.log.recurring import RecurringLine
from courier.sqs.advice import advice, advice_on

if TYPE_CHECKING:
    from courier.sqs.client import SqsClient

log = structlog.get_logger("courier.harness")


BATCH: Final = 10

PAUSE_SECONDS: Final = 1.0
"""Seconds from a failed send to the next one."""

SHOWN_BYTES: Final = 1000

LIMITS: Final = ServerLimits(max_body=1024**2 + 64 * 1024)
"""A message of SQS has at most 1 MiB, and is delivered unchanged."""


class HarnessOptions(NamedTuple):
    """The options of the harness."""

    queue: str
    region: str | None
    endpoint_url: str | None
    broadcast: bool
    rate: float
    host: str
    port: int


class Harness:
    """A run of the harness: serves, sends, and counts both."""

    def __init__(self, options: HarnessOptions) -> None:
        self._options = options
        self._stopped = asyncio.Event()
        self._sent = 0
        self._received = 0
        self._failed_line = RecurringLine(log, "warning", "cannot send")
        self._not_taken_line = RecurringLine(log, "warning", "not taken")

    async def run(self) -> None:
        """Serve and send until SIGTERM or SIGINT. Raise CannotStart if the port or the queue is unavailable."""
        options = self._options
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopped.set)
        try:
            server = await serve(self._answer, options.host, options.port, limits=LIMITS)
        except OSError as error:
            raise CannotStart(
                f"cannot answer on {options.host}:{options.port}: {error.strerror}; give another --host or --port"
            ) from None
        log.info("answering", url=server.url)
        if server.beyond_loopback:
            reason = "anyone who can connect may post here, and posts are logged"
            log.warning("answering beyond loopback", host=options.host, reason=reason, advice="use --host 127.0.0.1")
        try:
            if options.broadcast:
                await self._send_until_stopped()
            else:
                await self._stopped.wait()
        finally:
            server.close()
            await server.wait_closed(1.0)
        log.info("stopped", sent=self._sent, received=self._received)

    def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(405, [("Allow", "POST")])
        self._received += 1
        name = request.headers.get("x-aws-sqsd-msgid", "")
        log.info("received", message_id=name, body=request.body[:SHOWN_BYTES].decode(errors="replace"))
        return Response(200)

    async def _send_until_stopped(self) -> None:
        # Imported here, because a harness that only receives needs none of it.
        from courier.sqs.client import SqsClient
        from courier.sqs.credentials import CredentialSource
        from courier.sqs.discovery import aws_configuration
        from courier.sqs.lookup import resolve_queue

        options = self._options
        aws = aws_configuration(environment())
        queue = await asyncio.to_thread(resolve_queue, aws, options.queue, options.region, options.endpoint_url)
        loop = asyncio.get_running_loop()
        credentials = CredentialSource(aws.find_keys, queue.region)
        client = SqsClient(loop, queue, credentials)
        log.info("sending", queue=queue.url, rate=options.rate)
        try:
            await self._send_at_rate(client, queue.fifo)
        finally:
            client.close()
            credentials.close()

    async def _send_at_rate(self, client: SqsClient, fifo: bool) -> None:
        rate = self._options.rate
        begun, tried = time.monotonic(), 0
        while not self._stopped.is_set():
            count = min(BATCH, due(time.monotonic() - begun, rate) - tried)
            if count > 0:
                tried += count
                pause = await self._send(client, count, fifo)
            else:
                pause = begun + tried / rate - time.monotonic()
            await self._pause(pause)

    async def _send(self, client: SqsClient, count: int, fifo: bool) -> float:
        """Send a batch. Return the seconds to wait before the next one, which are above 0 after a failure."""
        try:
            results = await client.send(outgoing([random_record() for _ in range(count)], fifo=fifo))
        except SqsError as error:
            self._failed_line(error.code, times=count, reason=str(error), advice=advice(error))
            return PAUSE_SECONDS
        failed = [result for result in results if result is not None]
        self._sent += count - len(failed)
        if failed:
            code, detail = failed[0].code, failed[0].detail
            todo = advice_on(code, "SendMessageBatch")
            self._not_taken_line(code, times=len(failed), code=code, detail=detail, advice=todo)
            return PAUSE_SECONDS
        return 0.0

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), max(seconds, 0.0))
        except TimeoutError:
            return


def due(elapsed: float, rate: float) -> int:
    """Return how many messages should have been sent ``elapsed`` seconds after the start; the first is due at 0."""
    return int(elapsed * rate) + 1
