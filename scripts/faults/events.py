"""What a trial sees, as values. Times are seconds of ``time.monotonic()`` in the process of the suite."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Sent(NamedTuple):
    """A message that SQS accepted. ``digest`` is :func:`digest` of its body, ``group`` is "" on a standard queue."""

    at: float
    message_id: str
    group: str
    digest: bytes


class Received(NamedTuple):
    """SQS gave a message to a program: one receive is charged to it."""

    at: float
    message_id: str
    receipt: str


class Delivery(NamedTuple):
    """A request that reached the recipient.

    ``answered`` is when the whole answer was handed to the kernel, None if it never was; ``status`` is the answer's, 0
    if there was none. ``port`` is the client's port, which tells the process that sent it.
    """

    arrived: float
    answered: float | None
    message_id: str
    status: int
    digest: bytes
    port: int


class Deleted(NamedTuple):
    """A delete passed on to SQS: whether the record of its message was durable by then, and whether SQS did it."""

    at: float
    message_id: str
    recorded: bool
    done: bool


class Held(NamedTuple):
    """What a fault may deliver twice: the messages that the process held when it was hurt, or whose answer was lost.

    ``by_receive``: only if SQS hands them out again, since no process that goes on has a reason to try again.
    """

    at: float
    why: str
    message_ids: frozenset[str]
    by_receive: bool = False


class Window(NamedTuple):
    """A span in which no delivery is to be expected, such as an outage; it doesn't count as a stall."""

    begin: float
    end: float
    why: str


def digest(body: bytes) -> bytes:
    """Return 16 bytes that stand for a body: it must reach the recipient unchanged."""
    return hashlib.blake2b(body, digest_size=16).digest()
