"""A Firehose that shows faults, and knows the messages whose records are in its stream."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from typing import Final, Literal, NamedTuple

import orjson

from scripts.faults.audit_watch import EVENTS
from scripts.faults.firehose_server import AFTER, GOOD, INTERNAL, THROTTLED, Call, Fate, Firehose

FirehoseFaultKind = Literal["partial", "throttled", "error", "reset-after", "silent-after", "slow"]

SILENT_SECONDS: Final = 3600.0
"""How long a silent call stays open: longer than any client waits."""


class FirehoseFault(NamedTuple):
    """A fault of PutRecordBatch. ``share`` is that of the calls that meet it, ``seed`` decides on which.

    - ``partial``: a share of the records of each call is refused with ServiceUnavailableException, the others are kept
    - ``throttled``: the call is refused with ThrottlingException
    - ``error``: the call is refused with status 500
    - ``reset-after``: the records are kept, and the connection is cut in place of an answer
    - ``silent-after``: the records are kept, and no answer comes, so that the client's time-out ends the call
    - ``slow``: the records are kept, and the answer comes after ``seconds``
    """

    kind: FirehoseFaultKind
    share: float = 1.0
    seconds: float = 0.0
    seed: int = 0


class FaultyFirehose:
    """A Firehose in a thread of its own, with one stream, ``name``, at ``url``. boto3 is its client.

    ``records`` counts the records of each message in the stream, those of calls without an answer included.
    ``rejected`` is the reason of each message with a record of its rejection. ``unreadable`` are records that aren't
    lines of JSON with a message id. ``hits`` counts the records and calls that met a fault. All of them may be read
    from any thread.
    """

    def __init__(self, name: str = "audit") -> None:
        self.records: Counter[str] = Counter()
        self.rejected: dict[str, str] = {}
        self.unreadable: list[bytes] = []
        self.hits = 0
        self._shown: tuple[FirehoseFault, random.Random] | None = None
        self._server = Firehose(name, keeps_records=False)
        self._server.on_store = self._store
        self._server.behave = self._fate
        self.name = name
        self.url = self._server.url

    def stop(self) -> None:
        """End it for good; harmless if it has ended."""
        self._server.stop()

    def show(self, fault: FirehoseFault) -> None:
        """Show a fault from the next call on, in place of the one before."""
        self._shown = fault, random.Random(fault.seed)

    def heal(self) -> None:
        """Show no fault from the next call on. Calls under way end as their fault has it."""
        self._shown = None

    def durable(self, message_ids: Collection[str]) -> set[str]:
        """Return those of the messages that have a record in the stream."""
        return {message_id for message_id in message_ids if message_id in self.records}

    def _fate(self, call: Call) -> Fate:
        if self._shown is None:
            return GOOD
        fault, chance = self._shown
        if fault.kind == "partial":
            refused = [position for position in range(len(call.records)) if chance.random() < fault.share]
            self.hits += len(refused)
            return Fate(refuse=refused)
        if chance.random() >= fault.share:
            return GOOD
        self.hits += 1
        return _of_call(fault)

    def _store(self, record: bytes) -> None:
        for line in filter(None, record.split(b"\n")):
            try:
                fields = orjson.loads(line)
                message_id = str(fields["message_id"])
            except (KeyError, TypeError, orjson.JSONDecodeError):
                self.unreadable.append(line)
                continue
            if fields.get("outcome") in EVENTS:
                # It proves nothing about a message that left its queue.
                continue
            self.records[message_id] += 1
            if str(fields.get("outcome")).startswith("rejected:"):
                self.rejected[message_id] = str(fields.get("reason", ""))


def _of_call(fault: FirehoseFault) -> Fate:
    """Return what becomes of a call that meets a fault."""
    match fault.kind:
        case "throttled":
            return Fate(error=THROTTLED)
        case "error":
            return Fate(error=INTERNAL)
        case "reset-after":
            return Fate(cut=AFTER)
        case "silent-after":
            return Fate(cut=AFTER, delay=SILENT_SECONDS)
        case _:
            return Fate(delay=fault.seconds)
