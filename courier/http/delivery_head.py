"""The head of each delivery: what never varies is laid out once, what every message has goes in by one formatting."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

from courier.http.auth import Authentication
from courier.http.head import HeadTemplate, header_name, header_value
from courier.http.header_rules import is_denied_to_messages
from courier.http.header_sets import SETS, SQSD, with_own
from courier.http.header_templates import ATTRIBUTE, HeaderTemplate, Part
from courier.http.target import Target
from courier.http.trace import traceparent
from courier.message import Message

PREFIXED: Final = "prefixed"
BARE: Final = "bare"
OFF: Final = "none"

UNSENDABLE: Final = "Binary"
"""The data type, or what is before the dot of a custom one, that aws-sqsd leaves out: a header has no form for it."""

RESERVED_PREFIX: Final = "beanstalk.sqsd."
"""Attributes under this prefix steer aws-sqsd's periodic tasks and are never passed on."""

MAX_VALUE_BYTES: Final = 8000
"""Longer values are refused by common servers with the whole request, again and again; RFC 9110 names no limit."""

DEFAULT_TYPE: Final = "application/octet-stream"

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE: Final = re.compile(rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"[^"\\]*"))*')

_TRACES: Final = ("traceparent", "x-amzn-trace-id")


def media_type(text: str) -> bytes | None:
    """Return a media type (RFC 9110, 8.3.1) as it goes on the wire, or None where it is none."""
    value = header_value(text)
    return value if value is not None and _MEDIA_TYPE.fullmatch(text.strip(" \t")) else None


class HeadStyle(NamedTuple):
    """What the heads are like.

    ``headers`` names one of the sets, ``own`` are headers of the operator's, ``attributes`` is ``prefixed``, ``bare``
    or ``none``. The content type is that of the message attribute ``type_attribute`` where it is named and there.
    """

    headers: str = SQSD
    own: tuple[HeaderTemplate, ...] = ()
    attributes: str = PREFIXED
    content_type: str = DEFAULT_TYPE
    type_attribute: str = ""


class DeliveryHead:
    """Renders heads; ``dropped`` counts the values of messages that could not be header fields."""

    __slots__ = (
        "_always",
        "_attribute_name",
        "_authentication",
        "_choose",
        "_content_type",
        "_sometimes",
        "_traces",
        "_type_attribute",
        "dropped",
    )

    def __init__(
        self,
        target: Target,
        queue_name: str,
        style: HeadStyle = HeadStyle(),  # noqa: B008 (immutable)
        authentication: Authentication | None = None,
    ) -> None:
        """Lay the head out. ``authentication`` gives what proves who sends; without it nothing does."""
        self.dropped = 0
        self._authentication = authentication
        self._type_attribute = style.type_attribute
        self._content_type = style.content_type.encode("ascii")
        chosen = SETS[style.headers]
        # SQS has no name that can't be a header value, but the URL of something else may end in one.
        queue = (header_value(queue_name) or b"").decode()
        headers = [header.filled("queue", queue) for header in with_own(chosen.headers, style.own)]
        fixed = [(header.name, header.text) for header in headers if not header.placeholders]
        if not style.type_attribute:
            fixed.append(("Content-Type", style.content_type))
        self._always, self._choose = _lay_out(HeadTemplate("POST", target, fixed).start, headers)
        self._sometimes = [_sometimes(header) for header in headers if header.placeholders - _ALWAYS.keys()]
        taken = {header.name.lower() for header in headers}
        traces = headers if style.attributes == BARE else []
        self._traces = {h.name.lower(): _reader(h) for h in traces if h.name.lower() in _TRACES}
        self._attribute_name = lru_cache(maxsize=1024)(_attribute_names(style, chosen.attribute_prefix, taken))

    def render(self, message: Message) -> bytes:
        """Return the whole head of a message's delivery, ready for the wire; made anew for each attempt."""
        message_id = header_value(message.message_id) or b""
        head: bytes = self._always % self._choose(
            (
                len(message.body),
                message_id,
                message.receive_count,
                iso_8601(message.first_received_ms // 1000),
                iso_8601(message.sent_ms // 1000),
            )
        )
        for read, line_of in self._sometimes:
            if value := read(message):
                line = line_of(value)
                if line is None:
                    self.dropped += 1
                else:
                    head += line
        if message.attributes:
            head += self._attribute_lines(message)
        if self._type_attribute:
            head += b"Content-Type: %b\r\n" % self._type_of(message)
        if self._authentication is not None:
            head += self._authentication.lines(message_id, message.body)
        return head + b"\r\n"

    def refresh(self) -> None:
        """Look whether the files of secrets have changed; call it every second or so. It never raises."""
        if self._authentication is not None:
            self._authentication.refresh()

    def _attribute_lines(self, message: Message) -> bytes:
        lines = b""
        for attribute in message.attributes:
            if attribute.data_type.startswith(UNSENDABLE) or attribute.name.startswith(RESERVED_PREFIX):
                continue
            name = self._attribute_name(attribute.name)
            if name == b"" or (self._traces and name and self._is_told(name, message)):
                continue
            value = _bounded(attribute.value)
            if name is None or value is None:
                self.dropped += 1
            else:
                lines += b"%b: %b\r\n" % (name, value)
        return lines

    def _is_told(self, name: bytes, message: Message) -> bool:
        """Say whether a trace that a message's attribute tells, as OpenTelemetry's do, is told by SQS already."""
        read = self._traces.get(name.decode().lower())
        return read is not None and bool(read(message))

    def _type_of(self, message: Message) -> bytes:
        value = _attribute(message, self._type_attribute)
        if value is None:
            return self._content_type
        found = media_type(value) if len(value) <= MAX_VALUE_BYTES else None
        if found is None:
            self.dropped += 1
        return found or self._content_type


@lru_cache(maxsize=256)
def iso_8601(unix_second: int) -> bytes:
    """Format an instant as ISO 8601 in UTC; kept, since messages come in bunches of a few seconds.

    Empty for an instant that is none, which a queue that isn't SQS could send.
    """
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_second)).encode("ascii")
    except (OverflowError, OSError, ValueError):
        return b""


# What every message has, and what can't fail to be a header value: its place among the values, its format, and
# how it is read where a header has a placeholder of the other sort too.
_ALWAYS: Final[dict[str, tuple[int, bytes, Callable[[Message], str]]]] = {
    "message_id": (1, b"%b", lambda message: message.message_id),
    "receive_count": (2, b"%d", lambda message: str(message.receive_count)),
    "first_received_at": (3, b"%b", lambda message: iso_8601(message.first_received_ms // 1000).decode()),
    "sent_at": (4, b"%b", lambda message: iso_8601(message.sent_ms // 1000).decode()),
}

_SOME_HAVE: Final[dict[str, Callable[[Message], str]]] = {
    "sender_id": attrgetter("sender_id"),
    "group": attrgetter("group"),
    "receipt": attrgetter("receipt"),
    "trace": attrgetter("trace"),
    "traceparent": lambda message: message.trace and traceparent(message.trace),
}

_FEW_VALUES: Final = frozenset(("sender_id", "group"))
"""Of these there are many messages to one value, so that the lines are kept."""

Read = Callable[[Message], Any]
LineOf = Callable[[Any], "bytes | None"]


def _lay_out(start: bytes, headers: list[HeaderTemplate]) -> tuple[bytes, Callable[[tuple[object, ...]], Any]]:
    """Return the format of what every head has, and what chooses its values out of all."""
    layout = [start.replace(b"%", b"%%"), b"%d\r\n"]
    places = [0]
    for header in headers:
        if header.placeholders and not header.placeholders - _ALWAYS.keys():
            layout.append(header.name.encode("ascii").replace(b"%", b"%%") + b": ")
            for text, placeholder in header.parts:
                layout.append(text.encode("ascii").replace(b"%", b"%%"))
                if placeholder:
                    place, form, _ = _ALWAYS[placeholder]
                    places.append(place)
                    layout.append(form)
            layout.append(b"\r\n")
    return b"".join(layout), itemgetter(*places)


def _sometimes(header: HeaderTemplate) -> tuple[Read, LineOf]:
    """Return what reads the values of a header that not every message has, and what makes its line of them."""
    name = header.name.encode("ascii")
    texts = [part.text for part in header.parts]

    def line_of(values: Hashable) -> bytes | None:
        given = (values,) if isinstance(values, str) else values
        assert isinstance(given, tuple)
        # zip is short where the text ends after the last placeholder.
        value = _bounded("".join(map("".join, zip(texts, given, strict=False))) + "".join(texts[len(given) :]))
        return None if value is None else b"%b: %b\r\n" % (name, value)

    if [part.placeholder for part in header.parts] == ["traceparent"] and not header.parts[0].text:
        # Hardly any message has a trace: whether it has one is all that shall be asked of the others.
        return attrgetter("trace"), lambda trace: line_of(told) if (told := traceparent(trace)) else b""
    return _reader(header), lru_cache(maxsize=256)(line_of) if header.placeholders <= _FEW_VALUES else line_of


def _reader(header: HeaderTemplate) -> Read:
    """Return what reads a header's values: the only one, or several; nothing where the message lacks one of them."""
    readers = [_read(part) for part in header.parts if part.placeholder]
    if len(readers) == 1:
        return readers[0]

    def read(message: Message) -> tuple[str, ...] | None:
        values = tuple(reader(message) for reader in readers)
        return values if all(values) else None

    return read


def _read(part: Part) -> Read:
    if part.placeholder.startswith(ATTRIBUTE):
        name = part.placeholder.removeprefix(ATTRIBUTE)
        return lambda message: _attribute(message, name)
    return _SOME_HAVE.get(part.placeholder) or _ALWAYS[part.placeholder][2]


def _attribute(message: Message, name: str) -> str | None:
    return next((attribute.value for attribute in message.attributes if attribute.name == name), None)


def _attribute_names(style: HeadStyle, prefix: str, taken: set[str]) -> Callable[[str], bytes | None]:
    """Return what gives the header of an attribute: empty where it isn't passed on, None where it can't be."""
    denied = {name.replace("_", "-") for name in taken - set(_TRACES)}

    def bare(name: str) -> bytes | None:
        if name == style.type_attribute and name.lower() == "content-type":
            return b""
        if is_denied_to_messages(name) or name.lower().replace("_", "-") in denied:
            return None
        return header_name(name)

    if style.attributes == BARE:
        return bare
    if style.attributes == OFF or not prefix:
        return lambda name: b""
    return lambda name: header_name(prefix + name)


def _bounded(text: str) -> bytes | None:
    return header_value(text) if len(text) <= MAX_VALUE_BYTES else None
