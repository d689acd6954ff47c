"""``courier dlq redrive``: sends dead letters to another queue, or back where they came from, and then deletes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import click

from courier.cli.dlq.filters import role_of
from courier.cli.dlq.moving import Moving, move, moving_parameters
from courier.cli.options import option
from courier.config.checks import check_queue_name
from courier.config.units import TEXT
from courier.dlq.carrier import Carrier, Redriving, Target
from courier.dlq.move_record import REDRIVEN, move_recorder
from courier.dlq.origins import Origins, always
from courier.dlq.session import Session, find_queue
from courier.errors import ConfigError
from courier.process.collection import no_collection
from courier.sqs.queue import QueueInfo

SOURCE: Final = "source"
"""The word for the queues that messages came from. A queue of that name is given by its URL."""


@click.command(
    "redrive",
    params=moving_parameters(
        "redrive",
        option("--to", "to", TEXT, "", "Queue to send to, or `source`: the queue that each message came from."),
        click.Option(
            ["--source", "sources"],
            metavar="QUEUE",
            multiple=True,
            help="Queue that --to source may send to if a message names it as its source, as in a failure queue. "
            "Repeat it for more.",
        ),
    ),
)
def command(to: str, sources: tuple[str, ...], **values: Any) -> int:
    """Send copies of dead letters in QUEUE to another queue, then delete the originals. Without --yes, only count them.

    A copy keeps body, attributes and group. Its attribute Courier-Redrive-Of holds the message's first id, which stays
    its Idempotency-Key. At least once: a kill may leave both the copy and the original. The command pauses when copies
    come back. Exit codes: 0 all sent, 1 some were not, 2 wrong usage, 3 cannot read, send or record, 130 interrupted.
    """
    if not to:
        raise ConfigError("--to: is missing; give a queue, or source for the one that each message came from")
    if to != SOURCE:
        check_queue_name("--to", to)
    if sources and to != SOURCE:
        raise ConfigError("--source: must be left out without --to source")
    for source in sources:
        check_queue_name("--source", source)
    region, endpoint_url, role = values["region"], values["endpoint_url"], role_of(values)

    async def find(session: Session, dead: QueueInfo, name: str, flag: str) -> Target:
        found = await asyncio.to_thread(find_queue, name, region, endpoint_url, flag, role)
        # A queue may be named in several ways, so its ARN counts. Copies into the same queue would never end.
        if found.arn == dead.arn:
            raise ConfigError(f"{flag}: must be another queue than {dead.name}")
        return Target(found, session.client(found))

    async def carrier(session: Session, queue: QueueInfo, is_stopping: Callable[[], bool]) -> Carrier:
        if to != SOURCE:
            return Redriving(always(await find(session, queue, to, "--to")), is_stopping)
        urls = await session.client(queue).dead_letter_sources()
        by_policy = [await find(session, queue, url, "--to source") for url in urls]
        allowed = [await find(session, queue, name, "--source") for name in sources]
        if not by_policy and not allowed:
            raise ConfigError(
                f"--to: no redrive policy names {queue.name}, so only its messages say where they came from; "
                "allow that with --source QUEUE, or give --to a queue"
            )
        origins = Origins({t.queue.name: t for t in by_policy}, {t.queue.name: t for t in allowed})
        return Redriving(origins.target_of, is_stopping)

    redriving = Moving(
        "redrive",
        "redriven",
        carrier,
        lambda queue, body: move_recorder(REDRIVEN, queue, body),
        watches_returns=True,
    )
    with no_collection():
        return move(redriving, **values)
