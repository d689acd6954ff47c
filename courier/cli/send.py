"""``courier send``: sends messages to a queue, for tests or from a file of ``dlq export``."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from courier.cli import EXIT_INTERRUPTED
from courier.cli.dlq.filters import QUEUE, check_queue_argument, queue_argument, role_of, service_options
from courier.cli.dlq.output import Counter, say
from courier.cli.options import option
from courier.config.units import PATH, TEXT, number, per_second, seconds
from courier.dlq.sending import Numbered, Refused, Sending
from courier.dlq.session import Session, find_queue, run_session
from courier.dlq.sources import STDIN, Envelope, of_export, of_lines, open_source, read_lines, repeated
from courier.errors import EXIT_DRAINED, CannotStart, ConfigError, SqsError
from courier.log import setup as logging
from courier.message import Attribute
from courier.process.collection import no_collection
from courier.sqs.advice import advice
from courier.sqs.queue import QueueInfo
from courier.terminal.texts import plural

EXIT_REFUSED: Final = 1
LONGEST_DELAY: Final = 900

_ATTRIBUTE: Final = re.compile(r"([A-Za-z0-9_.-]{1,256})(?::([A-Za-z0-9_.-]{1,256}))?=(.+)", re.DOTALL)
_KINDS: Final = ("String", "Number", "Binary")

_ONLY_WITH_BODIES: Final = {
    "attribute": "--attribute", "group": "--group", "dedup_id": "--dedup-id", "count": "--count",
}  # fmt: skip


@click.command(
    "send",
    params=[
        queue_argument(),
        click.Argument(["bodies"], metavar="[BODY]... | -", nargs=-1),
        option("--from", "source", PATH, None, "File of dlq export whose messages to send; - is standard input."),
        option("--skip", "skip", number(0, 10**12), 0, "Lines of --from to skip, because they were sent before."),
        click.Option(
            ["--attribute", "-a"],
            metavar="NAME[:TYPE]=VALUE",
            multiple=True,
            help="Attribute of each message: tenant=acme, price:Number=5. Repeat it for more.",
        ),
        option("--group", "group", TEXT, "", "Message group of each message; a FIFO queue needs one."),
        option("--dedup-id", "dedup_id", TEXT, "", "Deduplication id of each message, for a FIFO queue."),
        option("--delay", "delay", seconds(0, LONGEST_DELAY, whole=True), 0, "How long SQS hides each new message."),
        option("--count", "count", number(1, 10**9), 1, "How many times to send each BODY."),
        option("--rate", "rate", per_second(100_000, "RATE"), None, "Maximum messages to send per second."),
        *service_options(),
    ],
)
def command(
    queue_name: str,
    region: str | None,
    endpoint_url: str | None,
    bodies: tuple[str, ...],
    source: Path | None,
    **values: Any,
) -> int:
    """Send each BODY to QUEUE as a message, or with - each line of standard input that isn't empty.

    With --from, send the messages of an export again, with their attributes and groups. At least once: a message whose
    call got no answer is sent again. Exit codes: 0 all sent, 1 some refused, 2 wrong usage, 3 cannot send,
    130 interrupted.
    """
    check_queue_argument(queue_name, endpoint_url)
    _check(bodies, source, values)
    attributes = parse_attributes(values["attribute"])
    fd = STDIN if source is None or str(source) == "-" else open_source(source)
    logging.configure("warning", "logfmt")
    found = find_queue(queue_name, region, endpoint_url, QUEUE, role_of(values))
    _check_kind(found, values, needs_group=source is None)
    envelope = Envelope(
        secrets.token_hex(8), found.name, found.fifo, attributes, values["group"], values["dedup_id"], values["delay"]
    )
    messages: Iterable[Numbered | Refused]
    if source is not None:
        messages = of_export(read_lines(fd, str(source)), envelope, values["skip"])
    elif bodies == ("-",):
        messages = of_lines(read_lines(fd, "standard input"), envelope)
    else:
        messages = repeated([os.fsencode(body) for body in bodies], values["count"], envelope)
    with no_collection():
        return _send(found, messages, values["rate"], is_export=source is not None)


def _check(bodies: tuple[str, ...], source: Path | None, values: dict[str, Any]) -> None:
    """Raise ConfigError for options that don't go together."""
    if source is not None:
        if bodies:
            raise ConfigError("BODY: must be left out with --from, whose lines are the messages")
        context = click.get_current_context()
        for name, flag in _ONLY_WITH_BODIES.items():
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                raise ConfigError(f"{flag}: must be left out with --from, whose lines have their own")
        return
    if values["skip"]:
        raise ConfigError("--skip: must be left out without --from")
    if not bodies:
        raise ConfigError("BODY: is missing; give the text of a message, - for standard input, or --from FILE")
    if "-" in bodies and len(bodies) > 1:
        raise ConfigError("BODY: must be - alone, or texts")
    if bodies == ("-",) and values["count"] != 1:
        raise ConfigError("--count: must be left out with -, whose lines are sent once")
    if "" in bodies:
        raise ConfigError("BODY: must not be empty: SQS takes no empty message")


def _check_kind(queue: QueueInfo, values: dict[str, Any], *, needs_group: bool) -> None:
    """Raise ConfigError for an option that a queue of this kind doesn't take."""
    if queue.fifo and needs_group and not values["group"]:
        raise ConfigError(f"--group: is missing; {queue.name} is a FIFO queue, whose messages need one")
    if queue.fifo and values["delay"]:
        raise ConfigError(f"--delay: must be left out; {queue.name} is a FIFO queue, which delays no single message")
    if not queue.fifo and values["dedup_id"]:
        raise ConfigError(f"--dedup-id: must be left out; {queue.name} isn't a FIFO queue")


def parse_attributes(texts: Iterable[str]) -> tuple[Attribute, ...]:
    """Return the attributes of a message; raise ConfigError for a text that means none, and for a name given twice."""
    found = tuple(map(parse_attribute, texts))
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ConfigError(f"--attribute: {twice!r} must be given once: a message has one value of each name")
    return found


def parse_attribute(text: str) -> Attribute:
    """Return the attribute that ``NAME[:TYPE]=VALUE`` means; raise ConfigError."""
    match = _ATTRIBUTE.fullmatch(text)
    kind = match[2] or "String" if match else ""
    if match is None or kind.partition(".")[0] not in _KINDS:
        raise ConfigError(
            f"--attribute: {text!r} must be NAME=VALUE or NAME:TYPE=VALUE, with a type of {', '.join(_KINDS)}"
        )
    return Attribute(match[1], kind, match[3])


def _send(queue: QueueInfo, messages: Iterable[Numbered | Refused], rate: float | None, *, is_export: bool) -> int:
    counter = Counter("sent")

    async def act(session: Session) -> int:
        sending = Sending(session.client(queue), fifo=queue.fifo, rate=rate, progress=counter.show)
        error: SqsError | CannotStart | None = None
        try:
            await sending.run(messages, session.stopped)
        except (SqsError, CannotStart) as met:
            error = met
        counter.clear()
        _report(sending, queue, is_export=is_export, whole=error is None and not session.stopped.is_set())
        if isinstance(error, SqsError):
            raise CannotStart(f"{error}; {advice(error)}")
        if error is not None:
            raise error
        return EXIT_INTERRUPTED if session.stopped.is_set() else EXIT_REFUSED if sending.refused else EXIT_DRAINED

    return run_session(act)


def _report(sending: Sending, queue: QueueInfo, *, is_export: bool, whole: bool) -> None:
    noun = "line" if is_export else "message"
    for refused in sending.refusals:
        say("send", f"{noun} {refused.number}: {refused.reason}; left out")
    if sending.refused > len(sending.refusals):
        say("send", f"{plural(sending.refused - len(sending.refusals), f'more {noun}')} left out")
    click.echo(f"{plural(sending.sent, 'message')} sent to {queue.name}")
    if is_export and not whole:
        click.echo(f"to go on: repeat the command with --skip {sending.done}")
