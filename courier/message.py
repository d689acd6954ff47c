"""The values that cross processes, and the packets that carry them.

A packet has two parts. The *head* is small and always arrives. It has everything needed to return a message to SQS. The
*bulk* is the payload: bodies and attributes on the way to a sender, and audit lines too large for the head on the way
to the auditor. A channel may carry the bulk in a file descriptor, and a descriptor can be lost on the way. A head never
exceeds :data:`WHOLE_BYTES`, whatever SQS sends: anything that doesn't fit travels in the bulk.

Heads are written with :mod:`marshal`. Both ends are forks of one interpreter, so the format can't differ, and it is the
cheapest codec of the standard library for tuples of strings and numbers. It accepts only plain tuples, so named ones
are converted.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

LONGEST_ID: Final = 128
"""Maximum characters of a message id. Those of SQS have at most 100; the limit exists because requests carry it."""

MOST_RECEIVES: Final = 2**31 - 1
"""The largest accepted receive count."""

MOST_MESSAGE_BYTES: Final = 1_048_576
"""SQS's limit on a message, its attributes included, and on all messages of one call together."""

BINARY: Final = "Binary"
"""The data type of a binary attribute, and the beginning of a custom one."""

MOST_BODY_BYTES: Final = 10**10 - 1
"""Maximum bytes of a body, more than any option allows of one that is fetched or decoded: SQS allows 1 MiB."""

_new = tuple.__new__


class Attribute(NamedTuple):
    """A message attribute, as the producer of the message set it. ``value`` is text, base64 for binary types."""

    name: str
    data_type: str
    value: str

    @property
    def is_binary(self) -> bool:
        """Whether the value is base64."""
        return self.data_type.startswith(BINARY)


REDRIVE_OF: Final = "Courier-Redrive-Of"
"""The attribute of a copy of a dead letter: the id that the message had before its first redrive."""

_SHOWN_ID: Final = re.compile(rf"[!-~]{{1,{LONGEST_ID}}}")


def is_shown_id(text: str) -> bool:
    """Return whether a text can be the id of a message: visible ASCII, and not too long."""
    return _SHOWN_ID.fullmatch(text) is not None


def redrive_of(attributes: Sequence[Attribute]) -> str:
    """Return the id that a message had before it was redriven; empty if it wasn't, or if that is no id of a message."""
    for name, data_type, value in attributes:
        if name == REDRIVE_OF:
            return value if data_type == "String" and is_shown_id(value) else ""
    return ""


class Message(NamedTuple):
    """One received SQS message.

    ``lease`` is the instant at which the lease ends: shortly before SQS shows the message again. ``received_at`` is the
    time of the receive, at which SQS's limit of 12 hours begins. Both are seconds on CLOCK_BOOTTIME, which is the same
    in all processes and continues while the machine sleeps. ``sent_ms`` and ``first_received_ms`` come from SQS, in
    Unix milliseconds. ``system`` are names and values of the system attributes that have no field of their own, if the
    consumer was asked to keep them.
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
    system: tuple[tuple[str, str], ...] = ()

    @property
    def handle(self) -> Handle:
        """The handle that settles the message."""
        return Handle(*self[:4], self.group)


class Handle(NamedTuple):
    """The fields of a :class:`Message` that settle it, and all that is left of a message whose bulk was lost.

    ``receipt`` is empty if it was too long for the head. That message can't be returned to SQS, which shows it again
    when its lease ends.
    """

    message_id: str
    receipt: str
    lease: float
    received_at: float
    group: str


LOST: Final = 0
DELIVERED: Final = 1
RETRY: Final = 2
RELEASE: Final = 3
EXTEND: Final = 4
REJECTED: Final = 5
DUPLICATE: Final = 6
EVENT: Final = 7
FETCHED: Final = 8

Stamp: TypeAlias = tuple[int, ...]
"""Fields of a :class:`Message` that tell its receives apart: ``receive_count``, ``sent_ms``, ``first_received_ms``."""


class Settlement(NamedTuple):
    """An outcome: what the auditor must do with a message.

    ``kind`` is DELIVERED, RETRY, RELEASE, EXTEND, REJECTED, DUPLICATE (its record is durable already), EVENT (only a
    line for the audit log) or FETCHED (delivered, with an object to remove afterwards), or LOST if nothing of the
    outcome arrived. ``lease`` and ``received_at`` are as in
    :class:`Message`; a ``lease`` of 0 means that the end of the message's 12 hours has been logged. ``delay`` is the
    visibility timeout of a RETRY or RELEASE, in seconds. ``record`` is the audit line of a DELIVERED or REJECTED
    message, with its newline; that of the others is a line of :mod:`courier.audit.event`, empty without
    ``--audit-events all``. ``letter`` is the letter of a REJECTED message (:func:`pack_letter`), or
    the pointer of a FETCHED one (:meth:`courier.request.content.Pointer.pack`). Both are ``None`` if
    their descriptor was lost on the way. ``stamp`` is the :data:`Stamp` of a message with a record, empty if it
    was lost too.
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
    stamp: Stamp = ()


PackedOutcome: TypeAlias = tuple[int, str, str, float, float, str, float, bytes | None, bytes | None, Stamp]
"""The fields of a :class:`Settlement` as a plain tuple, because names are too expensive on the hot path.

Fields 1 to 5 are those of a :class:`Handle`.
"""

WIDTH: Final = 10
"""The number of fields of an outcome."""

WHOLE_BYTES: Final = 60 * 1024
"""Maximum bytes of a head. Outcomes up to this size travel in the head with their records and letters."""

_NAMELESS: Final = ("", "", 0.0, 0.0, "")
_NOTHING_ARRIVED: Final = (LOST, "", "", 0.0, 0.0, "", 0.0, None, None, ())


class Letter(NamedTuple):
    """A rejected message on its way to the failure queue."""

    body: bytes
    attributes: tuple[Attribute, ...]
    trace: str


def pack_messages(messages: Sequence[Message]) -> tuple[bytes, bytes]:
    """Return the head and bulk of a packet of messages: one run, or one message or more of a standard queue."""
    heads = []
    bulk = []
    for message in messages:
        attributes, body = message.attributes, message.body
        if attributes or message.system:
            packed = marshal.dumps(([tuple(attribute) for attribute in attributes], message.system))
            heads.append((message[:10], len(packed), len(body)))
            bulk.append(packed)
        else:
            heads.append((message[:10], 0, len(body)))
        bulk.append(body)
    head = marshal.dumps(heads)
    return (head, b"".join(bulk)) if len(head) <= WHOLE_BYTES else _pack_oversized(messages)


def _pack_oversized(messages: Sequence[Message]) -> tuple[bytes, bytes]:
    """Return a head and bulk with the messages in the bulk, and in the head their handles if those fit."""
    bulk = marshal.dumps([(*message[:10], list(map(tuple, message.attributes)), *message[11:]) for message in messages])
    handles = [tuple(message.handle) for message in messages]
    head = marshal.dumps((len(bulk), handles))
    if len(head) > WHOLE_BYTES:
        head = marshal.dumps((len(bulk), [_NAMELESS] * len(messages)))
    return head, bulk


def unpack_messages(head: bytes, bulk: bytes | None) -> list[Message] | list[Handle]:
    """Return the messages of a packet, or only their handles if the bulk was lost (``None``)."""
    heads = marshal.loads(head)
    if type(heads) is tuple:
        return _unpack_oversized(heads[1], bulk)
    if bulk is None:
        return [Handle(h[0], h[1], h[2], h[3], h[8]) for h, _, _ in heads]
    messages = []
    offset = 0
    for fields, packed_size, body_size in heads:
        attributes: tuple[Attribute, ...] = ()
        system: tuple[tuple[str, str], ...] = ()
        if packed_size:
            packed, system = marshal.loads(bulk[offset : offset + packed_size])
            attributes = tuple([Attribute(*attribute) for attribute in packed])
            offset += packed_size
        end = offset + body_size
        payload = (attributes, bulk[offset:end], system)
        messages.append(_new(Message, fields + payload))
        offset = end
    return messages


def _unpack_oversized(handles: Sequence[tuple[Any, ...]], bulk: bytes | None) -> list[Message] | list[Handle]:
    if bulk is None:
        return [Handle(*handle) for handle in handles]
    return [
        _new(Message, (*fields, tuple([Attribute(*attribute) for attribute in attributes]), body, system))
        for *fields, attributes, body, system in marshal.loads(bulk)
    ]


def bulk_size(head: bytes) -> int:
    """Return the size of the bulk that was sent with this head; a reader that lost it must still count it as taken."""
    heads = marshal.loads(head)
    if isinstance(heads, tuple):
        return int(heads[0])
    return sum(packed_size + body_size for _, packed_size, body_size in heads)


def pack_letter(letter: Letter) -> bytes:
    """Return a letter as bytes, to travel within a settlement."""
    return marshal.dumps((letter.body, [tuple(a) for a in letter.attributes], letter.trace))


def unpack_letter(packed: bytes) -> Letter:
    """Return the letter from the bytes of :func:`pack_letter`."""
    body, attributes, trace = marshal.loads(packed)
    return Letter(body, tuple(Attribute(*a) for a in attributes), trace)


def pack_settlements(settlements: Iterable[Settlement]) -> tuple[bytes, bytes]:
    """Return the head and bulk of a packet with several outcomes; no record or letter may be ``None``."""
    plain: list[Any] = [tuple(settlement) for settlement in settlements]
    return pack_outcomes(plain)


def pack_outcomes(outcomes: list[PackedOutcome]) -> tuple[bytes, bytes]:
    """Return the head and bulk of a packet with several outcomes, as :func:`pack_settlements` does.

    All outcomes go into the head if they fit, because then nothing can be lost on the way. If not even their handles
    fit, all go into the bulk.
    """
    # A large record is alone in its packet, and needn't be copied to find out its size.
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
    head = marshal.dumps(heads)
    if len(head) > WHOLE_BYTES:
        return marshal.dumps([()] * len(outcomes)), marshal.dumps(outcomes)
    return head, marshal.dumps(bulk) if bulk else b""


def unpack_settlements(head: bytes, bulk: bytes | None) -> list[PackedOutcome]:
    """Return the outcomes of a packet; records and letters are ``None`` if they were in a lost bulk (``None``)."""
    packed = marshal.loads(head)
    if bulk == b"":
        whole: list[PackedOutcome] = packed
        return whole
    # The rest of an outcome that isn't whole is in the bulk: its record, letter and stamp, or all of it.
    parts: list[tuple[Any, ...]] = packed
    if bulk is None:
        return [part if len(part) == WIDTH else _without_bulk(part) for part in parts]
    payloads = iter(marshal.loads(bulk))
    return [part if len(part) == WIDTH else part + next(payloads) for part in parts]


def _without_bulk(outcome: tuple[Any, ...]) -> PackedOutcome:
    return (*outcome, None, None, ()) if outcome else _NOTHING_ARRIVED
