"""The head of each delivery: what never varies is laid out once, what every message has goes in by one formatting."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from courier.http.auth import Authentication
from courier.http.head import HeadTemplate, header_name, header_value
from courier.http.head_layout import (
    ALWAYS,
    OF_A_TRACE,
    attribute_value,
    bounded,
    iso_8601,
    lay_out,
    reader,
    sometimes,
)
from courier.http.header_rules import is_denied_to_messages
from courier.http.header_sets import SETS, SQSD, with_own
from courier.http.header_templates import HeaderTemplate
from courier.http.target import Target
from courier.message import Message

PREFIXED: Final = "prefixed"
BARE: Final = "bare"
OFF: Final = "none"

UNSENDABLE: Final = "Binary"
"""The data type, or what is before the dot of a custom one, that aws-sqsd leaves out: a header has no form for it."""

RESERVED_PREFIX: Final = "beanstalk.sqsd."
"""Attributes under this prefix steer aws-sqsd's periodic tasks and are never passed on."""

DEFAULT_TYPE: Final = "application/octet-stream"

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE: Final = re.compile(rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"[^"\\]*"))*')

_TRACES: Final = ("traceparent", "x-amzn-trace-id")


def media_type(text: str) -> bytes | None:
    """Return a media type (RFC 9110, 8.3.1) as it goes on the wire, or None where it is none."""
    value = bounded(text)
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
        "_untraced",
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
        self._always, self._choose = lay_out(HeadTemplate("POST", target, fixed).start, headers)
        some_have = [header for header in headers if header.placeholders - ALWAYS.keys()]
        self._sometimes = [sometimes(header) for header in some_have]
        self._untraced = [sometimes(header) for header in some_have if not header.placeholders & OF_A_TRACE]
        taken = {header.name.lower() for header in headers}
        traces = headers if style.attributes == BARE else []
        self._traces = {h.name.lower(): _has(h) for h in traces if h.name.lower() in _TRACES}
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
        for read, line_of in self._sometimes if message.trace else self._untraced:
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
            value = bounded(attribute.value)
            if name is None or value is None:
                self.dropped += 1
            else:
                lines += b"%b: %b\r\n" % (name, value)
        return lines

    def _is_told(self, name: bytes, message: Message) -> bool:
        """Say whether a trace that a message's attribute tells, as OpenTelemetry's do, is told by SQS already."""
        has = self._traces.get(name.decode().lower())
        return has is not None and has(message)

    def _type_of(self, message: Message) -> bytes:
        value = attribute_value(message, self._type_attribute)
        if value is None:
            return self._content_type
        found = media_type(value)
        if found is None:
            self.dropped += 1
        return found or self._content_type


def _has(header: HeaderTemplate) -> Callable[[Message], bool]:
    """Return what says whether a message gives a header its value."""
    read = reader(header)
    return lambda message: not header.placeholders or bool(read(message))


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
