"""``courier harness``: both ends of the pipeline, for trying it out: a producer of random messages, and a recipient."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import structlog
import uvloop

from courier import log as logging
from courier.cli.options import option, shared_options
from courier.config import VARIABLE_PREFIX, check_queue
from courier.demo.records import outgoing, random_record
from courier.errors import CannotStart, SqsError
from courier.http.server import Request, Response, serve
from courier.units import Rate, Text, Whole

if TYPE_CHECKING:
    from courier.sqs.client import SqsClient

BATCH: Final = 10
PAUSE_SECONDS: Final = 1.0
"""After a failed send, before the next one."""

SHOWN_BYTES: Final = 1000
_PREFIX: Final = f"{VARIABLE_PREFIX}HARNESS_"

log = structlog.get_logger("courier.harness")


class Options(NamedTuple):
    """What the harness is told."""

    queue: str
    region: str | None
    endpoint_url: str | None
    broadcast: bool
    rate: float
    host: str
    port: int


@click.command(
    "harness",
    params=[
        *shared_options("queue", "region", "endpoint_url"),
        click.Option(["--broadcast/--no-broadcast"], default=True, help="Send messages too, or only receive."),
        option("--rate", "rate", Rate(), 2.0, "Messages to send in a second.", (f"{_PREFIX}RATE",)),
        option("--host", "host", Text(), "127.0.0.1", "Address to answer on.", (f"{_PREFIX}HOST",)),
        option("--port", "port", Whole(0, 65535), 8081, "Port to answer on; 0 for a free one.", (f"{_PREFIX}PORT",)),
        *shared_options("log_level", "log_format"),
    ],
)
def command(log_level: str, log_format: str, **values: Any) -> int:
    """Send random messages to a queue, and be the recipient that answers every POST with 200.

    Logs the bodies that come in. SIGTERM or SIGINT ends it, with the totals in its last line.
    """
    options = Options(**values)
    if options.broadcast:
        check_queue(options.queue, options.endpoint_url)
    logging.configure(log_level, log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Harness(options).run())
    return 0


class Harness:
    """Counts what it sends and what comes back."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stopped = asyncio.Event()
        self._sent = 0
        self._received = 0

    async def run(self) -> None:
        """Serve, and send, until SIGTERM or SIGINT. Raises CannotStart where the port or the queue can't be had."""
        options = self._options
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopped.set)
        try:
            server = await serve(self._answer, options.host, options.port)
        except OSError as error:
            raise CannotStart(
                f"cannot answer on {options.host}:{options.port}: {error.strerror}; give another --host or --port"
            ) from None
        log.info("answering", url=server.url)
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
        # Imported here: a harness that only receives needs no boto3.
        from courier.sqs.client import SqsClient
        from courier.sqs.credentials import CredentialSource
        from courier.sqs.queue import resolve_queue

        options = self._options
        loop = asyncio.get_running_loop()
        queue = await loop.run_in_executor(None, resolve_queue, options.queue, options.region, options.endpoint_url)
        credentials = CredentialSource(queue.region)
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
        """Send a batch, and return the seconds to wait before the next one: some, where it failed."""
        try:
            results = await client.send(outgoing([random_record() for _ in range(count)], fifo=fifo))
        except SqsError as error:
            log.warning("cannot send", reason=str(error), messages=count)
            return PAUSE_SECONDS
        failed = [result for result in results if result is not None]
        self._sent += count - len(failed)
        if failed:
            log.warning("not taken", messages=len(failed), code=failed[0].code, detail=failed[0].detail)
            return PAUSE_SECONDS
        return 0.0

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), max(seconds, 0.0))
        except TimeoutError:
            return


def due(elapsed: float, rate: float) -> int:
    """Return how many messages should have been sent ``elapsed`` seconds after the start: the first one at once."""
    return int(elapsed * rate) + 1
