"""Meaningless messages for the harness and the demo."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from courier.sqs.client import Outgoing

GROUPS: Final = 4
"""Message groups over which the records of a FIFO queue are spread."""

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz "


class RandomRecord(NamedTuple):
    """A message: ``body`` is a JSON object with ``name`` as its ``id``."""

    name: str
    group: str
    body: bytes


def random_record() -> RandomRecord:
    """Return a record with an id, the time, and text of a random length up to 200 letters."""
    name = str(uuid.uuid4())
    text = "".join(random.choices(_LETTERS, k=random.randint(10, 200)))
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    body = orjson.dumps({"id": name, "at": at, "text": text})
    return RandomRecord(name, f"group-{random.randrange(GROUPS)}", body)


def outgoing(records: Sequence[RandomRecord], *, fifo: bool) -> list[Outgoing]:
    """Return the records as messages to send; a FIFO queue needs a group and a deduplication id."""
    # Imported here, because a harness that only receives needs no boto3.
    from courier.sqs.client import Outgoing

    if fifo:
        return [Outgoing(record.body, group=record.group, deduplication_id=record.name) for record in records]
    return [Outgoing(record.body) for record in records]
