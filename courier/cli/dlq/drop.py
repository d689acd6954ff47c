"""``courier dlq drop``: dead letters are deleted, each after its line in an audit log."""

from __future__ import annotations

from typing import Any

import click

from courier.cli.dlq.moving import Moving, move, moving_parameters
from courier.dlq.carrier import Carrier, Dropping
from courier.dlq.move_record import DROPPED, move_recorder
from courier.process.collection import no_collection


@click.command("drop", params=moving_parameters("drop"))
def command(**values: Any) -> int:
    """Delete dead letters from QUEUE. Without --yes, only count them and show samples.

    Each is first written to an audit log with its body and attributes, so that `courier send --from` can send it again.
    Exit codes: 0 all dropped, 1 some were not, 2 wrong usage, 3 cannot read or record, 130 interrupted.
    """

    async def carrier(*_: object) -> Carrier:
        return Dropping()

    dropping = Moving("drop", "dropped", carrier, lambda queue, body: move_recorder(DROPPED, queue, body))
    with no_collection():
        return move(dropping, **values)
