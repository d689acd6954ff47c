"""``courier virtual``: an SQS API served from memory, for development and tests."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

import click
import uvloop

from courier.errors import CannotStart
from courier.local.server import serve
from courier.local.virtual.errors import ServiceError
from courier.local.virtual.service import LIMITS, VirtualSqs

CLOSE_SECONDS: Final = 1.0
DEFAULT_MAX_RECEIVES: Final = 10
YOUNG_OBJECTS: Final = 50_000
NOT_FOR_PRODUCTION: Final = (
    "courier virtual is not a production queue: it holds messages in memory, and they are gone when it ends. "
    "Anyone who can reach its port has full access; credentials are not checked."
)
OPEN_ACCESS: Final = "anyone who can connect may send, read and delete messages"


def _option(name: str, help_text: str, **how: Any) -> Callable[[Callable[..., int]], Callable[..., int]]:
    variable = f"COURIER_VIRTUAL_{name.upper().replace('-', '_')}"
    return click.option(f"--{name}", envvar=variable, show_default="default" in how, help=help_text, **how)


@click.command("virtual")
@_option("host", "Address to serve.", default="127.0.0.1")
@_option("port", "Port to serve; 0 for a free one.", type=click.IntRange(0, 65_535), default=9324)
@_option(
    "queue",
    "Queue to create at start, in all regions; repeatable. NAME.fifo creates a FIFO queue.",
    multiple=True,
    metavar="NAME",
)
@_option(
    "visibility-timeout",
    "Visibility timeout of the queues created at start, in seconds.",
    type=click.IntRange(0, 43_200),
    default=30,
)
@_option(
    "dead-letter-queue",
    "Dead-letter queue to create for the queues of --queue. FIFO queues need a FIFO dead-letter queue.",
    metavar="NAME",
)
@_option(
    "max-receives",
    f"Receives after which a message moves to the dead-letter queue.  [default: {DEFAULT_MAX_RECEIVES}]",
    type=click.IntRange(1, 1000),
)
@_option(
    "latency-ms",
    "Milliseconds to delay each call, to imitate a network.",
    type=click.FloatRange(0, 60_000),
    default=0.0,
)
@click.option(
    "--enforce-waits",
    envvar="COURIER_VIRTUAL_ENFORCE_WAITS",
    is_flag=True,
    help="Refuse a second purge of a queue, and the name of a deleted queue, for 60 seconds, as SQS does.",
)
def virtual(
    host: str,
    port: int,
    queue: tuple[str, ...],
    visibility_timeout: int,
    dead_letter_queue: str | None,
    max_receives: int | None,
    latency_ms: float,
    *,
    enforce_waits: bool,
) -> int:
    """Serve an SQS API from memory, for development and tests.

    Give its address to any AWS SDK as the endpoint URL, with any credentials. It isn't for production: messages are
    gone when it ends. SIGTERM or SIGINT ends it.
    """
    if max_receives is not None and dead_letter_queue is None:
        raise click.UsageError("--max-receives needs a --dead-letter-queue to move messages to")
    click.echo(NOT_FOR_PRODUCTION, err=True)
    sqs = VirtualSqs(latency=latency_ms / 1000, enforce_waits=enforce_waits)
    attributes = {"VisibilityTimeout": str(visibility_timeout)}
    _create(sqs, queue, attributes, dead_letter_queue, max_receives or DEFAULT_MAX_RECEIVES)
    # The collector would traverse the objects of a million queued messages again and again without a result.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 50, 1000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(sqs, host, port, queue))
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
        server = await serve(sqs.handle, host, port, limits=LIMITS)
    except OSError as error:
        raise CannotStart(
            f"cannot serve the virtual queue on {host}:{port}: {error.strerror or error}; give another --host or --port"
        ) from None
    if server.beyond_loopback:
        click.echo(f"warning: {host} is reachable from other machines: {OPEN_ACCESS}; use --host 127.0.0.1", err=True)
    for name in queues:
        click.echo(f"queue {server.url}{sqs.path_of(name)}", err=True)
    click.echo(f"listening on {server.url}", err=True)
    await stopped.wait()
    server.close()
    sqs.close()
    await server.wait_closed(CLOSE_SECONDS)
