"""What messages may hold: random contents by the rules of SQS, and what a stand-in for SQS could send beyond them."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any, Final

MIB: Final = 1 << 20
NAME_CHARACTERS: Final = string.ascii_letters + string.digits + "_-."
GROUP_CHARACTERS: Final = string.ascii_letters + string.digits + string.punctuation
PIECES: Final = (
    "x", "é", "💩", "\t", "\r\n", "\ufffd", "\x85", "\u2028", " ", '"', "\\", "<&>", "{}", "%", "0", "Host: x\r\n",
)  # fmt: skip
NAMES: Final = (
    "Host", "Content-Length", "content-type", "Transfer-Encoding", "Connection", "Authorization", "traceparent", "type",
    "X-Aws-Sqsd-Msgid", "Courier-Omitted-Headers", "beanstalk.sqsd.path", "tenant", "größe", "_", "a.b-c_d",
)  # fmt: skip
TYPES: Final = (
    "String",
    "String.json",
    "Number",
    "Number.int",
    "Number.x y é",
    "Binary",
    "Binary.png",
    "String." + "t" * 200,
)
NUMBERS: Final = ("0", "-1.5", "1e125", "9" * 38, "-" + "9" * 38, ".5", "+7")
TRACES: Final = (
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
    "Root=" + "=" * 5000,
    "t" * 70_000,
    "a;b=c;é",
    "\r\nX: y",
)


class Contents:
    """Entries for SendMessageBatch, drawn from a seed: nothing that SQS refuses."""

    def __init__(self, seed: int, *, fifo: bool) -> None:
        self._random = random.Random(seed)
        self._fifo = fifo
        self._number = 0

    def entry(self) -> dict[str, Any]:
        """Return the next one, without its Id."""
        self._number += 1
        draw = self._random
        body = self._text(self._body_size()) or "x"
        room = MIB - len(body.encode()) - 1000
        entry: dict[str, Any] = {"MessageBody": body, "MessageAttributes": self._attributes(room)}
        if draw.random() < 0.3:
            trace = {"DataType": "String", "StringValue": draw.choice(TRACES)}
            entry["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
        if self._fifo or draw.random() < 0.2:
            size = draw.choice((1, 1, 2, 128))
            entry["MessageGroupId"] = (
                "".join(draw.choices(GROUP_CHARACTERS, k=size)) if size > 1 else draw.choice("abcdef")
            )
        if self._fifo:
            entry["MessageDeduplicationId"] = f"d{self._number}"
        return entry

    def _body_size(self) -> int:
        draw = self._random.random()
        if draw < 0.005:
            return MIB
        if draw < 0.05:
            return self._random.choice((60_000, 65_535, 65_536, 65_537, 70_000, 250_000))
        return self._random.choice((1, 10, 200, 2_000))

    def _text(self, most_bytes: int) -> str:
        if most_bytes > 5_000:
            piece = self._random.choice(PIECES)
            return piece * (most_bytes // len(piece.encode()))
        text = "".join(self._random.choices(PIECES, k=most_bytes))
        return text.encode()[:most_bytes].decode(errors="ignore")

    def _attributes(self, room: int) -> dict[str, Any]:
        draw = self._random
        attributes: dict[str, Any] = {}
        for _ in range(draw.choice((0, 0, 1, 3, 10))):
            name = draw.choice(NAMES) if draw.random() < 0.4 else self._name()
            value = self._value(draw.choice(TYPES))
            size = len(name.encode()) + sum(
                len(text if isinstance(text, bytes) else text.encode()) for text in value.values()
            )
            if name not in attributes and size < room:
                room -= size
                attributes[name] = value
        return attributes

    def _name(self) -> str:
        size = self._random.choice((1, 8, 30, 256))
        inner = "".join(self._random.choices(NAME_CHARACTERS, k=size)).replace(".", "_")
        return f"n{inner}"[:256]

    def _value(self, data_type: str) -> dict[str, Any]:
        draw = self._random
        if data_type.startswith("Number"):
            return {"DataType": data_type, "StringValue": draw.choice(NUMBERS)}
        size = draw.choice((1, 1, 20, 20, 200, 2_000, 8_000, 9_000, 70_000))
        if data_type.startswith("Binary"):
            return {"DataType": data_type, "BinaryValue": draw.randbytes(size)}
        return {"DataType": data_type, "StringValue": (draw.random() < 0.4 and self._text(size)) or "v" * size}


def batches(entries: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut entries into calls of SendMessageBatch: ten at most, 1 MiB in all."""
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        own = len(repr(entry).encode()) + 100
        if batch and (len(batch) == 10 or size + own > MIB):
            yield batch
            batch, size = [], 0
        batch.append({"Id": str(len(batch)), **entry})
        size += own
    if batch:
        yield batch


Mutation = Callable[[dict[str, Any], random.Random], None]

PADDING: Final = "!" * 70_000
"""What makes a receipt long; the server takes it off again."""


def _system(**values: Any) -> Mutation:
    return lambda entry, _: entry["Attributes"].update(values)


def _attribute(name: str, **value: Any) -> Mutation:
    return lambda entry, _: entry.setdefault("MessageAttributes", {}).update({name: value})


def _empty_body(entry: dict[str, Any], _: random.Random) -> None:
    entry.update(Body="", MD5OfBody="d41d8cd98f00b204e9800998ecf8427e")


def _long_receipt(entry: dict[str, Any], _: random.Random) -> None:
    entry["ReceiptHandle"] += PADDING


def _many_attributes(entry: dict[str, Any], draw: random.Random) -> None:
    values = {f"a{n}": {"DataType": "String", "StringValue": "v" * draw.randrange(50)} for n in range(3000)}
    entry.setdefault("MessageAttributes", {}).update(values)


DELIVERABLE: Final[tuple[Mutation, ...]] = (
    _empty_body,
    _long_receipt,
    _many_attributes,
    _system(SenderId="s" * 70_000),
    _system(SenderId="a\r\nX: y"),
    _system(MessageGroupId="g" * 70_000),
    _system(AWSTraceHeader="t" * MIB),
    _system(AWSTraceHeader="\x00\x1b[31m\x85"),
    _system(SentTimestamp="9" * 30),
    _system(SentTimestamp="-5", ApproximateFirstReceiveTimestamp=str(2**62)),
    _system(ApproximateReceiveCount=str(10**30)),
    _system(ApproximateReceiveCount="-7"),
    _attribute("a\r\nX-Evil: y", DataType="String", StringValue="v"),
    _attribute("", DataType="String", StringValue="v"),
    _attribute("b", DataType="String", StringValue="a\r\n\r\nPOST / HTTP/1.1\r\n"),
    _attribute("c", DataType="", StringValue="v"),
    _attribute("d", DataType="Binary", BinaryValue="no base64!"),
    _attribute("e", DataType="String", StringValue="v" * (2 * MIB)),
    _attribute("f", DataType="Number", StringValue="9" * 1_000_000),
)
"""What changes a message, and leaves it one that can be delivered."""

CORRUPTING: Final[tuple[Mutation, ...]] = (
    _system(ApproximateReceiveCount="abc"),
    _system(SentTimestamp="9" * 1_000_000),
    _system(SentTimestamp=None),
    _system(SenderId={"a": []}),
    _system(MessageGroupId=7),
    _attribute("\ud800", DataType="String", StringValue="v"),
    _attribute("a", DataType="String", StringValue="\udfff"),
    _attribute("a", DataType="String"),
    _attribute("a", DataType=7, StringValue="v"),
    _attribute("a", DataType="String", StringValue=[1]),
    lambda entry, _: entry.update(MessageAttributes=[1]),
    lambda entry, _: entry.update(MessageId="i" * 100_000),
    lambda entry, _: entry.update(MessageId=None),
    lambda entry, _: entry.update(Body="\ud800"),
    lambda entry, _: entry.update(Body=7),
    lambda entry, _: entry.pop("ReceiptHandle"),
    lambda entry, _: entry.update(Attributes="text"),
    lambda entry, _: entry.clear(),
)
"""What leaves nothing that could be delivered; SQS shows it again."""


def mutate(body: bytes, draw: random.Random) -> bytes:
    """Change the messages in an answer of ReceiveMessage; beyond repair only where they are received the first time."""
    fields = json.loads(body)
    for entry in fields.get("Messages", ()):
        first = entry["Attributes"]["ApproximateReceiveCount"] == "1"
        if first and draw.random() < 0.15:
            draw.choice(CORRUPTING)(entry, draw)
        elif draw.random() < 0.6:
            draw.choice(DELIVERABLE)(entry, draw)
    return json.dumps(fields).encode()
