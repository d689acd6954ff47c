"""What a replay's own audit directory says: the messages that were answered with success, and those that failed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from courier.audit.filter import Filter
from courier.audit.search import Observer, search
from courier.audit.segment import Segment
from courier.errors import CannotStart
from courier.replay.candidate import outcome_of
from courier.replay.id_set import IdSet


class Failed(NamedTuple):
    """A message that failed for good: the reason, and the recipient's answer, if there was one."""

    message_id: str
    reason: str
    answer: str


class Answered(NamedTuple):
    """The messages that were answered with success, and those that weren't and were given up, by id."""

    delivered: IdSet
    failed: dict[str, Failed]


class _Observer(Observer):
    # A damaged line was torn by a full disk or a power cut: what it recorded is sent again.
    def unreadable(self, segment: Segment, reason: str) -> None:
        raise CannotStart(f"cannot read the replay's own records in {segment.path}: {reason}")


def read_answered(directory: Path) -> Answered:
    """Read the directory, which may be missing, or torn by a kill. Raise CannotStart if it can't be read.

    A message that failed in one run and was delivered in a later one is delivered.
    """
    delivered, failed = IdSet(), dict[str, Failed]()
    try:
        for found in search(directory, Filter(), _Observer()):
            fields, message_id = found.fields, str(found.fields["message_id"])
            outcome = outcome_of(fields)
            if outcome == "delivered":
                delivered.add(message_id)
                failed.pop(message_id, None)
            elif outcome == "rejected" and message_id not in delivered:
                failed[message_id] = Failed(message_id, str(fields.get("reason", "")), str(fields.get("answer", "")))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CannotStart(f"cannot read the replay's own records in {directory}: {error.strerror}") from None
    return Answered(delivered, failed)
