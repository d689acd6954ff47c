"""What a replay's own audit directory says: the messages that were answered with success, and those that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from courier.audit.segment import segments
from courier.errors import CannotStart
from courier.replay.candidate import outcome_of
from courier.replay.id_set import IdSet
from courier.replay.selection import read_whole_lines


class Failed(NamedTuple):
    """A message that failed for good: the reason, and the recipient's answer, if there was one."""

    message_id: str
    reason: str
    answer: str


class Answered(NamedTuple):
    """The messages that were answered with success, and those that weren't and were given up, by id."""

    delivered: IdSet
    failed: dict[str, Failed]


def read_answered(directory: Path) -> Answered:
    """Read the directory, which may be torn by a kill. Raise CannotStart if it can't be read.

    A message that failed in one run and was delivered in a later one is delivered.
    """
    delivered, failed = IdSet(), dict[str, Failed]()
    for record in _records(directory):
        message_id = record["message_id"]
        outcome = outcome_of(record)
        if outcome == "delivered":
            delivered.add(message_id)
            failed.pop(message_id, None)
        elif outcome == "rejected" and message_id not in delivered:
            failed[message_id] = Failed(message_id, str(record.get("reason", "")), str(record.get("answer", "")))
    return Answered(delivered, failed)


def _records(directory: Path) -> Iterator[dict[str, Any]]:
    try:
        found = segments(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotStart(f"cannot read the replay's audit directory {directory}: {error.strerror}") from None
    for segment in found:
        for line in read_whole_lines(segment):
            try:
                record = orjson.loads(line.raw)
            except orjson.JSONDecodeError:
                # Torn by a full disk or a power cut: what it recorded is sent again.
                continue
            if isinstance(record, dict) and isinstance(record.get("message_id"), str):
                yield record
