"""``courier virtual``: an SQS API served from memory, for development and tests."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import signal
from collections.abc import Sequence
from typing import Final

import click
import uvloop

from courier.errors import CannotStart
from courier.http.server import serve
from courier.sqs.virtual.errors import ServiceError
from courier.sqs.virtual.service import VirtualSqs

CLOSE_SECONDS: Final = 1.0
DEFAULT_MAX_RECEIVES: Final = 10
YOUNG_OBJECTS: Final = 50_000
NOT_FOR_PRODUCTION: Final = (
    "courier virtual is no production queue: it holds everything in memory, and a message is gone when it ends. "
    "Anybody who reaches its port may do anything; credentials are not checked."
)


@click.command("virtual")
@click.option("--host", default="127.0.0.1", show_default=True, envvar="COURIER_VIRTUAL_HOST", help="Address to serve.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=9324,
    show_default=True,
    envvar="COURIER_VIRTUAL_PORT",
    help="Port to serve; 0 for a free one.",
)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    envvar="COURIER_VIRTUAL_QUEUE",
    help="Queue to create at start; may be given several times. NAME.fifo makes a FIFO queue.",
)
@click.option(
    "--visibility-timeout",
    type=click.IntRange(0, 43_200),
    default=30,
    show_default=True,
    envvar="COURIER_VIRTUAL_VISIBILITY_TIMEOUT",
    help="Visibility timeout of the queues created at start, in seconds.",
)
@click.option(
    "--dead-letter-queue",
    metavar="NAME",
    envvar="COURIER_VIRTUAL_DEAD_LETTER_QUEUE",
    help="Dead-letter queue of the queues created at start; created too. Must be FIFO where they are.",
)
@click.option(
    "--max-receives",
    type=click.IntRange(1, 1000),
    envvar="COURIER_VIRTUAL_MAX_RECEIVES",
    help=f"Receives after which a message goes to the dead-letter queue.  [default: {DEFAULT_MAX_RECEIVES}]",
)
@click.option(
    "--latency-ms",
    type=click.FloatRange(0, 60_000),
    default=0.0,
    show_default=True,
    envvar="COURIER_VIRTUAL_LATENCY_MS",
    help="Milliseconds to wait before each call, as a network would.",
)
def virtual(
    host: str,
    port: int,
    queues: tuple[str, ...],
    visibility_timeout: int,
    dead_letter_queue: str | None,
    max_receives: int | None,
    latency_ms: float,
) -> int:
    """Serve an SQS API from memory, for development and tests.

    Point any AWS SDK at its address as the endpoint URL, with any credentials. It is no production queue. SIGTERM or
    SIGINT ends it.
    """
    if max_receives is not None and dead_letter_queue is None:
        raise click.UsageError("--max-receives needs a --dead-letter-queue to move messages to")
    click.echo(NOT_FOR_PRODUCTION, err=True)
    if not _is_loopback(host):
        click.echo(f"warning: {host} is not a loopback address; others may reach this queue", err=True)
    sqs = VirtualSqs(latency=latency_ms / 1000)
    attributes = {"VisibilityTimeout": str(visibility_timeout)}
    _create(sqs, queues, attributes, dead_letter_queue, max_receives or DEFAULT_MAX_RECEIVES)
    # A million queued messages are a million objects that the collector would walk again and again for nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 50, 1000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(sqs, host, port, queues))
    return 0


def _create(
    sqs: VirtualSqs, queues: Sequence[str], attributes: dict[str, str], dead_letter_queue: str | None, max_receives: int
) -> None:
    option = "--dead-letter-queue"
    try:
        if dead_letter_queue is not None:
            target = sqs.create_queue(dead_letter_queue).arn
            policy = {"deadLetterTargetArn": target, "maxReceiveCount": max_receives}
            attributes = {**attributes, "RedrivePolicy": json.dumps(policy)}
        option = "--queue"
        for name in queues:
            if name != dead_letter_queue:
                sqs.create_queue(name, attributes)
    except ServiceError as error:
        raise click.UsageError(f"{option}: {error.detail}") from None


async def _run(sqs: VirtualSqs, host: str, port: int, queues: Sequence[str]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        server = await serve(sqs.handle, host, port)
    except OSError as error:
        raise CannotStart(f"cannot serve the virtual queue on {host}:{port}: {error.strerror or error}") from None
    for name in queues:
        click.echo(f"queue {server.url}{sqs.path_of(name)}", err=True)
    click.echo(f"listening on {server.url}", err=True)
    await stopped.wait()
    server.close()
    sqs.close()
    await server.wait_closed(CLOSE_SECONDS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
