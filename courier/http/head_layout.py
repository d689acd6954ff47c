"""From header templates to what makes their lines: one format for what every message has, a function for the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Final

from courier.http.head import header_value
from courier.http.header_templates import ATTRIBUTE, HeaderTemplate, Part
from courier.http.trace import traceparent
from courier.message import Message

MAX_VALUE_BYTES: Final = 8000
"""Longer values are refused by common servers with the whole request, again and again; RFC 9110 names no limit."""

Read = Callable[[Message], Any]
"""Gives what a header needs of a message; nothing (None, or empty) where the message lacks it."""

LineOf = Callable[[Any], "bytes | None"]
"""Makes a header line of that, line end included; None where it can't be one."""


def bounded(text: str) -> bytes | None:
    """Return a value as it goes on the wire, or None where it can't be a header or is too long for one."""
    return header_value(text) if len(text) <= MAX_VALUE_BYTES else None


@lru_cache(maxsize=256)
def iso_8601(unix_second: int) -> bytes:
    """Format an instant as ISO 8601 in UTC; kept, since messages come in bunches of a few seconds.

    Empty for an instant that is none, which a queue that isn't SQS could send.
    """
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_second)).encode("ascii")
    except (OverflowError, OSError, ValueError):
        return b""


ALWAYS: Final[Mapping[str, tuple[int, bytes, Callable[[Message], str]]]] = {
    "message_id": (1, b"%b", lambda message: message.message_id),
    "receive_count": (2, b"%d", lambda message: str(message.receive_count)),
    "first_received_at": (3, b"%b", lambda message: iso_8601(message.first_received_ms // 1000).decode()),
    "sent_at": (4, b"%b", lambda message: iso_8601(message.sent_ms // 1000).decode()),
}
"""What every message has and what can't fail to be a header value: its place among the values, of which the length of
the body is the first, its format, and how it's read where a header has a placeholder of the other sort too."""

_SOME_HAVE: Final[Mapping[str, Callable[[Message], str]]] = {
    "sender_id": attrgetter("sender_id"),
    "group": attrgetter("group"),
    "receipt": attrgetter("receipt"),
    "trace": attrgetter("trace"),
    "traceparent": lambda message: message.trace and traceparent(message.trace),
}

OF_A_TRACE: Final = frozenset(("trace", "traceparent"))
"""Hardly any message has one, so that the others aren't asked for each header of it."""

_FEW_VALUES: Final = frozenset(("sender_id", "group"))
"""Of these there are many messages to one value, so that the lines are kept."""


def lay_out(start: bytes, headers: Sequence[HeaderTemplate]) -> tuple[bytes, Callable[[tuple[object, ...]], Any]]:
    """Return the format of what every head has, and what chooses its values out of all, which are as in ALWAYS.

    ``start`` is the head up to the length of the body. Headers that not every message has are passed over.
    """
    layout = [start.replace(b"%", b"%%"), b"%d\r\n"]
    places = [0]
    for header in headers:
        if header.placeholders and not header.placeholders - ALWAYS.keys():
            layout.append(header.name.encode("ascii").replace(b"%", b"%%") + b": ")
            for text, placeholder in header.parts:
                layout.append(text.encode("ascii").replace(b"%", b"%%"))
                if placeholder:
                    place, form, _ = ALWAYS[placeholder]
                    places.append(place)
                    layout.append(form)
            layout.append(b"\r\n")
    return b"".join(layout), itemgetter(*places)


def sometimes(header: HeaderTemplate) -> tuple[Read, LineOf]:
    """Return what reads the values of a header that not every message has, and what makes its line of them."""
    name = header.name.encode("ascii")
    texts = [part.text for part in header.parts]

    def line_of(values: Hashable) -> bytes | None:
        given = (values,) if isinstance(values, str) else values
        assert isinstance(given, tuple)
        # zip is short where the text ends after the last placeholder.
        value = bounded("".join(map("".join, zip(texts, given, strict=False))) + "".join(texts[len(given) :]))
        return None if value is None else b"%b: %b\r\n" % (name, value)

    return reader(header), lru_cache(maxsize=256)(line_of) if header.placeholders <= _FEW_VALUES else line_of


def reader(header: HeaderTemplate) -> Read:
    """Return what reads a header's values: the only one, or several; nothing where the message lacks one of them."""
    reads = [_read(part) for part in header.parts if part.placeholder]
    if len(reads) == 1:
        return reads[0]

    def read(message: Message) -> tuple[str, ...] | None:
        values = tuple(read_one(message) for read_one in reads)
        return values if all(values) else None

    return read


def _read(part: Part) -> Read:
    if part.placeholder.startswith(ATTRIBUTE):
        name = part.placeholder.removeprefix(ATTRIBUTE)
        return lambda message: attribute_value(message, name)
    return _SOME_HAVE.get(part.placeholder) or ALWAYS[part.placeholder][2]


def attribute_value(message: Message, name: str) -> str | None:
    """Return the value of a message attribute, or None where there is none of that name."""
    return next((attribute.value for attribute in message.attributes if attribute.name == name), None)
