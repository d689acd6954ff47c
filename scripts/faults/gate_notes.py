"""What a gate saw pass between a program and SQS."""

from __future__ import annotations

import random
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from scripts.faults.events import Deleted, Held, Received, digest
from scripts.faults.gate_calls import Answer, Call

MOST_RECEIPTS: Final = 250_000
"""How many receipt handles are remembered: more than SQS lets be in flight, so that a late delete is understood too."""

MOST_REPLAYS: Final = 64
LARGEST_REPLAY: Final = 64 * 1024


class SentElsewhere(NamedTuple):
    """A message that the program put into a queue. ``attributes`` are the texts of its message attributes."""

    at: float
    queue_url: str
    digest: bytes
    attributes: dict[str, str]


class Notes:
    """Lists that only grow, in the gate's thread. Another thread may read them, and delete from the front.

    ``received`` reached the program, ``lost`` were handed out by SQS in an answer that didn't: both are charged to the
    message. ``held`` are the messages that a fault of the gate may have delivered twice.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.lost: list[Received] = []
        self.deletes: list[Deleted] = []
        self.held: list[Held] = []
        self.sent_elsewhere: list[SentElsewhere] = []
        # Ordered: the first key of a plain dict is found only behind all that were deleted from its front.
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._replays: dict[str, deque[dict[str, Any]]] = {}

    def id_of(self, receipt: object) -> str:
        """Return the message id of a receipt handle, ``""`` if SQS handed none out here."""
        return self._ids.get(str(receipt), "")

    def note_received(self, call: Call, messages: Sequence[dict[str, Any]], *, lost: bool) -> None:
        """Note the messages in an answer."""
        now = time.monotonic()
        notes = self.lost if lost else self.received
        for message in messages:
            message_id, receipt = str(message["MessageId"]), str(message["ReceiptHandle"])
            self._ids[receipt] = message_id
            notes.append(Received(now, message_id, receipt))
            if not lost and len(message.get("Body", "")) <= LARGEST_REPLAY:
                self._replays.setdefault(call.queue_url, deque(maxlen=MOST_REPLAYS)).append(message)
        while len(self._ids) > MOST_RECEIPTS:
            self._ids.popitem(last=False)

    def note_deletes(self, at: float, call: Call, recorded: frozenset[str], answer: Answer | None) -> None:
        """Note the entries of a delete that was passed on at ``at``, by the answer of SQS to it."""
        done = answer.succeeded(call) if answer is not None else set()
        for entry in call.entries:
            message_id = self.id_of(entry.get("ReceiptHandle"))
            accepted = str(entry.get("Id", "")) in done
            self.deletes.append(Deleted(at, message_id, message_id in recorded, accepted))

    def note_sends(self, call: Call, answer: Answer) -> None:
        """Note the messages of a send that SQS accepted."""
        now = time.monotonic()
        done = answer.succeeded(call)
        for entry in call.entries:
            if str(entry.get("Id", "")) in done:
                attributes = entry.get("MessageAttributes") or {}
                texts = {name: str(value.get("StringValue", "")) for name, value in attributes.items()}
                body = str(entry.get("MessageBody", "")).encode("utf-8", "surrogatepass")
                self.sent_elsewhere.append(SentElsewhere(now, call.queue_url, digest(body), texts))

    def note_held(self, why: str, message_ids: Iterable[str]) -> None:
        """Note messages that may be delivered twice from now on."""
        ids = frozenset(message_ids) - {""}
        if ids:
            self.held.append(Held(time.monotonic(), why, ids, by_receive=True))

    def replay(self, call: Call, beside: Sequence[dict[str, Any]], chance: random.Random) -> dict[str, Any] | None:
        """Return a message that was received before from the same queue, and isn't in the same answer."""
        present = {message["MessageId"] for message in beside}
        known = [message for message in self._replays.get(call.queue_url, ()) if message["MessageId"] not in present]
        return chance.choice(known) if known else None
