"""The values that cross processes, and the packets that carry them.

A packet has two parts. The *head* is small and always arrives: whatever is needed to give a message back by
name. The *bulk* is the payload: bodies and attributes on the way to a sender, audit lines on the way to the
auditor. A channel may carry the bulk in a file descriptor, and a descriptor can be lost on the way.

Heads are written with :mod:`marshal`: both ends are forks of one interpreter, so its format can't differ
between them, and it is the cheapest codec of the standard library for tuples of strings and numbers.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple


class Attribute(NamedTuple):
    """A message attribute as the sender of the message set it; ``value`` is text, base64 for binary types."""

    name: str
    data_type: str
    value: str


class Message(NamedTuple):
    """One received SQS message.

    ``lease`` is the instant at which SQS would show it to somebody else, less a margin; ``received_at`` the
    instant of the receive, from which the 12 hours count. Both are seconds on CLOCK_BOOTTIME, which is the same
    in all processes and goes on while the machine sleeps. The two ``_ms`` are SQS's own, Unix milliseconds.
    """

    message_id: str
    receipt: str
    lease: float
    received_at: float
    receive_count: int
    sent_ms: int
    first_received_ms: int
    sender_id: str
    group: str
    trace: str
    attributes: tuple[Attribute, ...]
    body: bytes


class Handle(NamedTuple):
    """What is left of a message whose bulk did not arrive: enough to give it back."""

    message_id: str
    receipt: str
    lease: float
    received_at: float
    group: str


DELIVERED: Final = 1
RETRY: Final = 2
RELEASE: Final = 3
EXTEND: Final = 4
REJECTED: Final = 5


class Settlement(NamedTuple):
    """What the auditor shall do with a message.

    ``kind`` is one of DELIVERED, RETRY, RELEASE, EXTEND, REJECTED. ``lease`` and ``received_at`` as in
    :class:`Message`; ``delay`` (seconds) is the visibility that a RETRY asks for. ``record`` is the audit line
    of a DELIVERED or REJECTED message, newline included, and ``letter`` what of a REJECTED one goes to the failure
    queue (:func:`pack_letter`). Both are ``None`` where their descriptor was lost on the way.
    """

    kind: int
    message_id: str
    receipt: str
    lease: float
    received_at: float
    group: str
    delay: float = 0.0
    record: bytes | None = b""
    letter: bytes | None = b""


class Letter(NamedTuple):
    """A rejected message on its way to the failure queue."""

    body: bytes
    attributes: tuple[Attribute, ...]
    trace: str


def pack_messages(messages: Sequence[Message]) -> tuple[bytes, bytes]:
    """Make head and bulk of the packet of one run: several messages of one group in order, or a single message."""
    heads = []
    bulk = []
    for m in messages:
        attributes = marshal.dumps([tuple(a) for a in m.attributes]) if m.attributes else b""
        heads.append((*m[:10], len(attributes), len(m.body)))
        bulk.append(attributes)
        bulk.append(m.body)
    return marshal.dumps(heads), b"".join(bulk)


def unpack_messages(head: bytes, bulk: bytes | None) -> list[Message] | list[Handle]:
    """Read the messages of a packet; their handles alone where the bulk was lost, and is ``None``."""
    heads = marshal.loads(head)
    if bulk is None:
        return [Handle(h[0], h[1], h[2], h[3], h[8]) for h in heads]
    messages = []
    offset = 0
    for h in heads:
        attributes: tuple[Attribute, ...] = ()
        if h[10]:
            attributes = tuple(Attribute(*a) for a in marshal.loads(bulk[offset : offset + h[10]]))
            offset += h[10]
        end = offset + h[11]
        messages.append(Message._make((*h[:10], attributes, bulk[offset:end])))
        offset = end
    return messages


def pack_letter(letter: Letter) -> bytes:
    """Write a letter down, to travel within a settlement."""
    return marshal.dumps((letter.body, [tuple(a) for a in letter.attributes], letter.trace))


def unpack_letter(packed: bytes) -> Letter:
    """Read what :func:`pack_letter` wrote."""
    body, attributes, trace = marshal.loads(packed)
    return Letter(body, tuple(Attribute(*a) for a in attributes), trace)


def pack_settlements(settlements: Iterable[Settlement]) -> tuple[bytes, bytes]:
    """Make head and bulk of the packet of several outcomes; every record and letter must be there."""
    heads = []
    bulk = []
    for s in settlements:
        record, letter = s.record or b"", s.letter or b""
        heads.append((*s[:7], len(record), len(letter)))
        if record:
            bulk.append(record)
        if letter:
            bulk.append(letter)
    return marshal.dumps(heads), b"".join(bulk)


def unpack_settlements(head: bytes, bulk: bytes | None) -> list[Settlement]:
    """Read the outcomes of a packet; where the bulk was lost, and is ``None``, so are its records and letters."""
    settlements = []
    offset = 0
    for h in marshal.loads(head):
        if h[7] == h[8] == 0:
            settlements.append(Settlement._make((*h[:7], b"", b"")))
        elif bulk is None:
            settlements.append(Settlement._make((*h[:7], None, None)))
        else:
            middle = offset + h[7]
            end = middle + h[8]
            settlements.append(Settlement._make((*h[:7], bulk[offset:middle], bulk[middle:end])))
            offset = end
    return settlements
