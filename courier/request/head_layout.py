"""The layout of header templates: one format for the headers of every message, and a function for each other header."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Final

from courier.http.head import header_value
from courier.message import Message, redrive_of
from courier.request.header_templates import ATTRIBUTE, HeaderTemplate, Part
from courier.request.trace import traceparent

Read = Callable[[Message], Any]
"""A function that returns the values of a header from a message; None, or empty, if the message lacks one."""

LineOf = Callable[[Any], "bytes | None"]
"""A function that makes a header line, line end included, of those values; None if they can't be one."""


@lru_cache(maxsize=256)
def iso_8601(unix_second: int) -> bytes:
    """Return an instant as ISO 8601 in UTC, cached since many messages share a second.

    Empty for an instant out of range, which a queue that isn't SQS could send.
    """
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_second)).encode("ascii")
    except (OverflowError, OSError, ValueError):
        return b""


ALWAYS: Final[Mapping[str, tuple[int, bytes, Callable[[Message], str]]]] = {
    "message_id": (1, b"%b", lambda message: message.message_id),
    # A message that was redriven is a repeat for its recipient.
    "original_id": (5, b"%b", lambda message: redrive_of(message.attributes) or message.message_id),
    "receive_count": (2, b"%d", lambda message: str(message.receive_count)),
    "first_received_at": (3, b"%b", lambda message: iso_8601(message.first_received_ms // 1000).decode()),
    "sent_at": (4, b"%b", lambda message: iso_8601(message.sent_ms // 1000).decode()),
}
"""The placeholders that every message fills with a valid header value: the place among the values (the first is the
length of the body), the format, and how to read the value if its header has a placeholder of the other kind too."""

_SOME_HAVE: Final[Mapping[str, Callable[[Message], str]]] = {
    "sender_id": attrgetter("sender_id"),
    "group": attrgetter("group"),
    "receipt": attrgetter("receipt"),
    "trace": attrgetter("trace"),
    "traceparent": lambda message: message.trace and traceparent(message.trace),
}

OF_A_TRACE: Final = frozenset(("trace", "traceparent"))
"""The placeholders of a trace, which few messages have: their headers are skipped for a message without one."""

_FEW_VALUES: Final = frozenset(("sender_id", "group"))
"""The placeholders whose values many messages share, so that their lines are kept."""

_LINES_KEPT: Final = 256
_LONGEST_KEPT: Final = 512
"""The most bytes of a line that is kept: senders to the queue must not fill the memory with values that never recur."""


def lay_out(start: bytes, headers: Sequence[HeaderTemplate]) -> tuple[bytes, Callable[[tuple[object, ...]], Any]]:
    """Return the format of the headers that every message has, and a function that picks its values, as in ALWAYS.

    ``start`` is the head up to the length of the body. Headers that not every message has are skipped.
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


def optional_line(header: HeaderTemplate) -> tuple[Read, LineOf]:
    """Return two functions for a header that not every message has: one reads its values, the other makes its line."""
    name = header.name.encode("ascii")
    texts = [part.text for part in header.parts]

    def line_of(values: Any) -> bytes | None:
        given = (values,) if isinstance(values, str) else values
        assert isinstance(given, tuple)
        # zip leaves out the text after the last placeholder.
        value = header_value("".join(map("".join, zip(texts, given, strict=False))) + "".join(texts[len(given) :]))
        return None if value is None else b"%b: %b\r\n" % (name, value)

    return value_reader(header), _Kept(line_of).__getitem__ if header.placeholders <= _FEW_VALUES else line_of


class _Kept(dict[Any, "bytes | None"]):
    """Lines by their values, each made when it is first needed."""

    def __init__(self, line_of: LineOf) -> None:
        super().__init__()
        self._line_of = line_of

    def __missing__(self, values: Any) -> bytes | None:
        line = self._line_of(values)
        if line is not None and len(line) <= _LONGEST_KEPT:
            if len(self) >= _LINES_KEPT:
                self.clear()
            self[values] = line
        return line


def value_reader(header: HeaderTemplate) -> Read:
    """Return a function that reads a header's values: the only one, or several; nothing if the message lacks one."""
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
    """Return the value of a message attribute, or None if there is none of that name."""
    return next((attribute.value for attribute in message.attributes if attribute.name == name), None)
