"""The run of ``courier try``: finds the message, lets a real sender make its request, and shows what came of it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

import click

from courier.cli import EXIT_INTERRUPTED
from courier.cli.dlq.output import say
from courier.config.config import Config
from courier.dlq.scan import Scan
from courier.dlq.session import Session, find_queue, run_session
from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED, CannotStart, SqsError
from courier.http.secret_mask import Mask
from courier.http.url_parsing import read_url
from courier.log.printable import escaped
from courier.message import Message
from courier.recipient.policy import retry_delay
from courier.sqs.address import read_address
from courier.sqs.advice import advice
from courier.sqs.queue import QueueInfo
from courier.trial.report import answer_lines, request_bytes, verdict
from courier.trial.trial import Trial, try_message
from courier.wiring.batches import answer_rules
from courier.wiring.recipient import authentication, backoff, check_header_room, delivery_head

if TYPE_CHECKING:
    from courier.cli.trial import Origin

EXIT_UNDELIVERED: Final = 1
DEFAULT_REGION: Final = "us-east-1"
NOBODY: Final = "000000000000"

COMMAND: Final = "try"


def run_trial(config: Config, origin: Origin, message: Message | None, *, post: bool, secrets: bool) -> int:
    """Try ``message``, or one from the queue of ``origin``; return the exit code."""
    source = None
    if message is None:
        source = find_queue(origin.queue, config.region, config.endpoint_url, "--peek", config.assumed_role)
    queue = source if source is not None and origin.queue == config.queue else _queue_of(config.queue, config)
    failure_queue = _queue_of(config.failure_queue, config) if config.failure_queue else None

    async def act(session: Session) -> int:
        if message is not None:
            return await _unless_stopped(
                session, _try(config, queue, failure_queue, message, post=post, secrets=secrets)
            )
        assert source is not None
        try:
            async with Scan(session.client(source)) as scan:
                session.when_stopped(scan.stop)
                found = await _find(scan, origin.message_id)
                if found is None:
                    if session.stopped.is_set():
                        return EXIT_INTERRUPTED
                    wanted = f" with the id {origin.message_id}" if origin.message_id else ""
                    raise CannotStart(f"--peek: {source.name} shows no message{wanted} now; look with courier dlq peek")
                code = await _unless_stopped(
                    session, _try(config, queue, failure_queue, found, post=post, secrets=secrets)
                )
        except SqsError as error:
            raise CannotStart(f"{error}; {advice(error)}") from None
        say(COMMAND, f"the message is shown again in {source.name}; each look counts as a receive")
        return code

    return run_session(act)


async def _unless_stopped(session: Session, trial: Coroutine[Any, Any, int]) -> int:
    """Return the exit code of a trial, which a signal ends."""
    trying = asyncio.create_task(trial)

    def stop() -> None:
        trying.cancel()

    session.when_stopped(stop)
    try:
        return await trying
    except asyncio.CancelledError:
        if trying.cancelled() and session.stopped.is_set():
            return EXIT_INTERRUPTED
        raise


def _mask(config: Config, message: Message) -> Mask:
    """Return what hides the secrets of a request: those of files, the operator's own headers, and the receipt handle.

    The URL is shown, though it may be a key, too: without it nobody knows the request.
    """
    proofs = authentication(config)
    own = [part.text.strip() for header in config.header for part in header.parts]
    return Mask((*own, *(proofs.secrets if proofs is not None else ()), message.receipt))


async def _find(scan: Scan, message_id: str) -> Message | None:
    while messages := await scan.next(10 if message_id else 1):
        for message in messages:
            if message_id in ("", message.message_id):
                return message
    return None


async def _try(
    config: Config, queue: QueueInfo, failure_queue: QueueInfo | None, message: Message, *, post: bool, secrets: bool
) -> int:
    name, config = _route(config, message)
    if name:
        say(COMMAND, f"its route is {name}")
    head = delivery_head(config, queue.name)
    check_header_room(config, head)
    trial = await try_message(config, queue, failure_queue, message, post=post)
    mask = Mask() if secrets else _mask(config, message)
    if trial.request is not None:
        _write(request_bytes(trial.request, mask))
    failure_queue_name = "" if failure_queue is None else f"the failure queue {failure_queue.name}"
    found = verdict(trial, failure_queue_name, answer_rules(config), _longest_delay(config, trial, message))
    if trial.request is None:
        click.echo(f"not sent; {found.text}")
        return EXIT_UNDELIVERED
    if not post:
        say(COMMAND, "nothing was sent; add --post to send it once")
        return EXIT_DRAINED
    click.echo()
    if trial.answer is None:
        say(COMMAND, "no answer came in time")
        return EXIT_CANNOT_START
    for line in answer_lines(trial.answer, mask):
        click.echo(line)
    click.echo(f"\n{found.text}")
    return EXIT_DRAINED if found.is_delivered else EXIT_UNDELIVERED


def _route(config: Config, message: Message) -> tuple[str, Config]:
    """Return the name and the configuration of the message's route; without routes those of all messages."""
    if config.routes is None:
        return "", config
    from courier.consumer.routing import Match, Router

    routes = config.routes.routes
    place = Router([Match(route.attribute, route.pattern) for route in routes]).place(message)
    return (routes[place - 1].name, config.of_routes[place - 1]) if place else ("default", config)


def _longest_delay(config: Config, trial: Trial, message: Message) -> float:
    """Return the longest time until the next attempt after the answer, which may ask for more than the back-off."""
    delays, attempt = backoff(config), message.receive_count
    if trial.answer is None:
        return delays.delay(attempt, 1.0)
    return retry_delay(trial.answer, attempt, delays, 1.0, time.time())


def _queue_of(name: str, config: Config) -> QueueInfo:
    """Return what a request says of a queue, which isn't asked for anything."""
    address = read_address(name)
    region = address.region or config.region or DEFAULT_REGION
    origin = address.origin or f"https://sqs.{region}.amazonaws.com"
    return QueueInfo(
        url=address.url or f"{origin}/{NOBODY}/{address.name}",
        name=address.name,
        region=region,
        endpoint=read_url(origin),
        fifo=address.name.endswith(".fifo"),
        visibility_timeout=config.visibility_timeout_seconds,
    )


def _write(request: bytes) -> None:
    if sys.stdout.isatty():
        text = request.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        request = "\n".join(map(escaped, text.split("\n"))).encode("utf-8", "backslashreplace")
    sys.stdout.flush()
    sys.stdout.buffer.write(request + b"\n")
    sys.stdout.buffer.flush()
