"""The values that cross processes, and the packets that carry them.

A packet has two parts. The *head* is small and always arrives: whatever is needed to give a message back by
name. The *bulk* is the payload: bodies and attributes on the way to a sender, and audit lines on the way to the
auditor where they are too large for the head. A channel may carry the bulk in a file descriptor, and a descriptor can
be lost on the way.

Heads are written with :mod:`marshal`: both ends are forks of one interpreter, so its format can't differ
between them, and it is the cheapest codec of the standard library for tuples of strings and numbers. It takes plain
tuples only: hence what is made of named ones below.
"""

from __future__ import annotations

import itertools
import marshal
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

_new = tuple.__new__


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
    :class:`Message`; a ``lease`` of 0 is that of a message of which it has been told that its 12 hours are over.
    ``delay`` (seconds) is the visibility that a RETRY or RELEASE asks for. ``record`` is the audit line of a DELIVERED
    or REJECTED message, newline included, and ``letter`` what of a REJECTED one goes to the failure queue
    (:func:`pack_letter`). Both are ``None`` where their descriptor was lost on the way.
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


Outcome: TypeAlias = tuple[int, str, str, float, float, str, float, bytes | None, bytes | None]
"""The fields of a :class:`Settlement` as a plain tuple: on the hot path a name for each costs too much."""

WHOLE_BYTES: Final = 60 * 1024
"""Up to this size outcomes travel in the head of their packet, records and letters included."""


class Letter(NamedTuple):
    """A rejected message on its way to the failure queue."""

    body: bytes
    attributes: tuple[Attribute, ...]
    trace: str


def pack_messages(messages: Sequence[Message]) -> tuple[bytes, bytes]:
    """Make head and bulk of the packet of one run: several messages of one group in order, or a single message."""
    heads = []
    bulk = []
    for message in messages:
        attributes, body = message.attributes, message.body
        if attributes:
            packed = marshal.dumps([tuple(attribute) for attribute in attributes])
            heads.append((message[:10], len(packed), len(body)))
            bulk.append(packed)
        else:
            heads.append((message[:10], 0, len(body)))
        bulk.append(body)
    return marshal.dumps(heads), b"".join(bulk)


def unpack_messages(head: bytes, bulk: bytes | None) -> list[Message] | list[Handle]:
    """Read the messages of a packet; their handles alone where the bulk was lost, and is ``None``."""
    heads = marshal.loads(head)
    if bulk is None:
        return [Handle(h[0], h[1], h[2], h[3], h[8]) for h, _, _ in heads]
    messages = []
    offset = 0
    for fields, packed_size, body_size in heads:
        attributes: tuple[Attribute, ...] = ()
        if packed_size:
            packed = marshal.loads(bulk[offset : offset + packed_size])
            attributes = tuple([Attribute(*attribute) for attribute in packed])
            offset += packed_size
        end = offset + body_size
        payload = (attributes, bulk[offset:end])
        messages.append(_new(Message, fields + payload))
        offset = end
    return messages


def bulk_size(head: bytes) -> int:
    """Give the size of the bulk that left with this head: whoever lost it still has to count it as taken."""
    return sum(packed_size + body_size for _, packed_size, body_size in marshal.loads(head))


def pack_letter(letter: Letter) -> bytes:
    """Write a letter down, to travel within a settlement."""
    return marshal.dumps((letter.body, [tuple(a) for a in letter.attributes], letter.trace))


def unpack_letter(packed: bytes) -> Letter:
    """Read what :func:`pack_letter` wrote."""
    body, attributes, trace = marshal.loads(packed)
    return Letter(body, tuple(Attribute(*a) for a in attributes), trace)


def pack_settlements(settlements: Iterable[Settlement]) -> tuple[bytes, bytes]:
    """Make head and bulk of the packet of several outcomes; every record and letter must be there."""
    plain: list[Any] = [tuple(settlement) for settlement in settlements]
    return pack_outcomes(plain)


def pack_outcomes(outcomes: list[Outcome]) -> tuple[bytes, bytes]:
    """Make head and bulk of the packet of several outcomes, as :func:`pack_settlements` does.

    Together they all go into the head, if they fit: then nothing can be lost on the way.
    """
    # A record that is large by itself is alone in its packet; it needn't be copied to find that out.
    if len(outcomes) != 1 or len(outcomes[0][7] or b"") + len(outcomes[0][8] or b"") < WHOLE_BYTES:
        whole = marshal.dumps(outcomes)
        if len(whole) <= WHOLE_BYTES:
            return whole, b""
    heads: list[tuple[object, ...]] = []
    bulk = []
    for outcome in outcomes:
        if outcome[7] or outcome[8]:
            heads.append(outcome[:7])
            bulk.append(outcome[7:])
        else:
            heads.append(outcome)
    return marshal.dumps(heads), marshal.dumps(bulk) if bulk else b""


def unpack_settlements(head: bytes, bulk: bytes | None) -> list[Outcome]:
    """Read the outcomes of a packet; where the bulk was lost, and is ``None``, so are the records and letters in it."""
    outcomes: list[Outcome] = marshal.loads(head)
    if bulk == b"":
        return outcomes
    payloads = itertools.repeat((None, None)) if bulk is None else iter(marshal.loads(bulk))
    return [outcome if len(outcome) == 9 else outcome + next(payloads) for outcome in outcomes]
