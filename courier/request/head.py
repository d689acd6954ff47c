"""The head of each delivery. Its constant part is rendered once; one format fills in the values of every message."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from courier.http.file_body import Body
from courier.http.head import HeadTemplate, header_name, header_value
from courier.http.secret_mask import Mask, secrets_in_url
from courier.http.url import Url
from courier.message import BINARY, LONGEST_ID, MOST_BODY_BYTES, MOST_RECEIVES, REDRIVE_OF, Message, redrive_of
from courier.request.auth import Authentication
from courier.request.content import Content
from courier.request.head_budget import DEFAULT_HEAD_BYTES, fit, omitted_line, reserved_bytes
from courier.request.head_layout import (
    ALWAYS,
    OF_A_TRACE,
    attribute_value,
    iso_8601,
    lay_out,
    optional_line,
    value_reader,
)
from courier.request.header_rules import folded, is_denied_to_messages
from courier.request.header_sets import SETS, SQSD, with_own
from courier.request.header_templates import HeaderTemplate

PREFIXED: Final = "prefixed"
BARE: Final = "bare"
OFF: Final = "none"

RESERVED_PREFIX: Final = "beanstalk.sqsd."
"""The prefix of attributes that control aws-sqsd's periodic tasks. They are never passed on."""

DEFAULT_TYPE: Final = "application/octet-stream"

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LONGEST_NAME: Final = 256
"""The most characters of an attribute's name in SQS. The cached header names of longer ones would fill the memory."""

_LONGEST_TYPE: Final = 1024
_MEDIA_TYPE: Final = re.compile(rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"[^"\\]*"))*')

_TRACES: Final = ("traceparent", "x-amzn-trace-id")


class HeadTooLong(ValueError):
    """A head that must be longer than it may be, by the fault of its message."""


def media_type(text: str) -> bytes | None:
    """Return a media type (RFC 9110, 8.3.1) as it goes on the wire, or None if the text is none."""
    value = header_value(text) if len(text) <= _LONGEST_TYPE else None
    return value if value is not None and _MEDIA_TYPE.fullmatch(text.strip(" \t")) else None


class HeadStyle(NamedTuple):
    """The operator's choices about heads.

    ``headers`` names one of the sets, ``own`` are the operator's own headers, ``attributes`` is ``prefixed``, ``bare``
    or ``none``. The message attribute ``type_attribute``, if a message has it, is the content type. A whole head has at
    most ``most_bytes``. ``allowed`` are attributes that are sent bare although a recipient may trust their names.
    ``receipt_in_body``: the body holds the receipt handle, which allows to delete the message.
    """

    headers: str = SQSD
    own: tuple[HeaderTemplate, ...] = ()
    attributes: str = PREFIXED
    content_type: str = DEFAULT_TYPE
    type_attribute: str = ""
    most_bytes: int = DEFAULT_HEAD_BYTES
    allowed: tuple[str, ...] = ()
    receipt_in_body: bool = False


class DeliveryHead:
    """Renders heads. ``dropped`` counts the headers left out: those with an invalid value, and those without room.

    If a head would be too long, :mod:`courier.request.head_budget` chooses the headers to leave out, and one header
    names them. Request line, Host, Content-Length, Content-Type, the proofs, and the headers of every message always
    stay.

    ``mask`` hides secrets of the head, and what may be one, in the answers of a recipient.
    """

    __slots__ = (
        "_always",
        "_attribute_name",
        "_authentication",
        "_choose",
        "_content_type",
        "_kept",
        "_most",
        "_proofs",
        "_sends_receipt",
        "_sometimes",
        "_target_end",
        "_traces",
        "_type_attribute",
        "_untraced",
        "dropped",
        "mask",
    )

    def __init__(
        self,
        url: Url,
        queue_name: str,
        style: HeadStyle = HeadStyle(),  # noqa: B008 (immutable)
        authentication: Authentication | None = None,
    ) -> None:
        """Lay the head out. ``authentication`` proves who sends; without it nothing does."""
        self.dropped = 0
        self._authentication = authentication
        self._kept = (
            *secrets_in_url(url.path),
            *(part.text.strip() for header in style.own for part in header.parts),
        )
        self._proofs = authentication.secrets if authentication is not None else ()
        self.mask = Mask((*self._kept, *self._proofs))
        self._type_attribute = style.type_attribute
        self._content_type = b"Content-Type: %b\r\n" % style.content_type.encode("ascii")
        self._most = style.most_bytes
        chosen = SETS[style.headers]
        # Any name in SQS is a valid header value, but the URL of another server may end in one that isn't.
        queue = (header_value(queue_name) or b"").decode()
        headers = [header.filled("queue", queue) for header in with_own(chosen.headers, style.own)]
        self._sends_receipt = style.receipt_in_body or any("receipt" in header.placeholders for header in headers)
        fixed = [(header.name, header.text) for header in headers if not header.placeholders]
        if not style.type_attribute:
            fixed.append(("Content-Type", style.content_type))
        self._always, self._choose = lay_out(HeadTemplate("POST", url, fixed).start, headers)
        self._target_end = len(f"POST {url.path}")
        some_have = [header for header in headers if header.placeholders - ALWAYS.keys()]
        self._sometimes = [optional_line(header) for header in some_have]
        self._untraced = [optional_line(header) for header in some_have if not header.placeholders & OF_A_TRACE]
        taken = {header.name.lower() for header in headers}
        traces = headers if style.attributes == BARE else []
        self._traces = {h.name.lower(): _has(h) for h in traces if h.name.lower() in _TRACES}
        self._attribute_name = lru_cache(maxsize=1024)(_attribute_names(style, chosen.attribute_prefix, taken))

    def render_content(self, content: Content) -> bytes:
        """Return the head of an attempt to deliver a prepared message.

        Raise HeadTooLong if it can't be short enough because of the path or the required lines of the content.
        """
        head = self.render(content.message, content.headers, content.body, content.required, content.path)
        self.dropped += content.dropped
        excess = len(head) - self._most
        # What the operator's own headers take is no fault of the message.
        if 0 < excess <= len(content.required) + max(0, len(content.path) - self._target_end):
            raise HeadTooLong(f"the head would be {excess} bytes longer than --max-header-bytes allows")
        return head

    def render(
        self, message: Message, lines: bytes = b"", body: Body | None = None, required: bytes = b"", path: bytes = b""
    ) -> bytes:
        """Return the whole head of an attempt to deliver a message, ready for the wire.

        ``lines`` are more header lines, which rank with those that not every message has; ``required`` are lines that
        stay. ``body`` is what is sent if that isn't the body of the message. ``path`` replaces the path of the URL.
        """
        if body is None:
            body = message.body
        original_id = message_id = header_value(message.message_id) or b""
        if message.attributes and (given := redrive_of(message.attributes)):
            original_id = given.encode()
        start: bytes = self._always % self._choose(
            (
                len(body),
                message_id,
                message.receive_count,
                iso_8601(message.first_received_ms // 1000),
                iso_8601(message.sent_ms // 1000),
                original_id,
            )
        )
        if path:
            start = b"POST %b%b" % (path, start[self._target_end :])
        if required:
            start += required
        head, attributes = start + lines, b""
        for read, line_of in self._sometimes if message.trace else self._untraced:
            if value := read(message):
                line = line_of(value)
                if line is None:
                    self.dropped += 1
                else:
                    head += line
        if message.attributes:
            attributes = self._attribute_lines(message)
        is_plain = self._authentication is None and not self._type_attribute
        end = b"\r\n" if is_plain else self._end(original_id, message, body)
        whole = head + attributes + end if attributes else head + end
        return whole if len(whole) <= self._most else self._fitted(start, head[len(start) :], attributes, end)

    def _end(self, original_id: bytes, message: Message, body: Body) -> bytes:
        """Return the end of a head: the message's content type, and the proofs of the sender."""
        end = b"\r\n"
        if self._authentication is not None:
            end = self._authentication.lines(original_id, body) + end
        return self._type_of(message) + end if self._type_attribute else end

    @property
    def signs(self) -> bool:
        """Whether a head depends on the body: to render it for a large one takes long."""
        return self._authentication is not None and self._authentication.signs

    def mask_of(self, message: Message) -> Mask:
        """Return the mask for one message, which hides its receipt handle too: that allows to delete the message."""
        return self.mask.plus(message.receipt) if self._sends_receipt else self.mask

    def fixed_bytes(self) -> int:
        """Return the most bytes of a head without optional headers, whatever the message."""
        longest = Message("x" * LONGEST_ID, "", 0.0, 0.0, MOST_RECEIVES, 0, 0, "", "", "", (), b"")
        return len(self.render(longest)) + len(str(MOST_BODY_BYTES)) - 1

    def _fitted(self, start: bytes, headers: bytes, attributes: bytes, end: bytes) -> bytes:
        """Return a head that leaves some headers out, so that it is short enough."""
        omitted = []
        fixed = len(start) + reserved_bytes(self._most)
        if self._type_attribute and fixed + len(end) > self._most:
            content_type, line_end, proof = end.partition(b"\r\n")
            if content_type + line_end != self._content_type:
                end = self._content_type + proof
                omitted.append(b"Content-Type")
        fitted = fit(headers, attributes, self._most - fixed - len(end))
        omitted = fitted.omitted + omitted
        self.dropped += len(omitted)
        return start + fitted.lines + omitted_line(omitted, self._most) + end

    def refresh(self) -> None:
        """Read the files of secrets that have changed. Call it every second or so. Never raises."""
        if self._authentication is not None:
            self._authentication.refresh()
            proofs = self._authentication.secrets
            if proofs != self._proofs:
                # Answers that are under way may still repeat the secret before.
                self.mask = Mask((*self._kept, *self._proofs, *proofs))
                self._proofs = proofs

    def _attribute_lines(self, message: Message) -> bytes:
        lines = b""
        for attribute in message.attributes:
            # As aws-sqsd, since a header can't hold a binary value.
            if attribute.data_type.startswith(BINARY) or attribute.name.startswith(RESERVED_PREFIX):
                continue
            name = self._attribute_name(attribute.name) if len(attribute.name) <= _LONGEST_NAME else None
            if name == b"" or (self._traces and name and self._is_sent_by_sqs(name, message)):
                continue
            value = header_value(attribute.value)
            if name is None or value is None:
                self.dropped += 1
            else:
                lines += b"%b: %b\r\n" % (name, value)
        return lines

    def _is_sent_by_sqs(self, name: bytes, message: Message) -> bool:
        """Return whether the trace of SQS already fills the header of an attribute, such as OpenTelemetry's."""
        has = self._traces.get(name.decode().lower())
        return has is not None and has(message)

    def _type_of(self, message: Message) -> bytes:
        """Return the header line of the content type."""
        value = attribute_value(message, self._type_attribute)
        if value is None:
            return self._content_type
        found = media_type(value)
        if found is None:
            self.dropped += 1
            return self._content_type
        return b"Content-Type: %b\r\n" % found


def _has(header: HeaderTemplate) -> Callable[[Message], bool]:
    """Return a function that says whether a message has the value of a header."""
    read = value_reader(header)
    return lambda message: not header.placeholders or bool(read(message))


def _attribute_names(style: HeadStyle, prefix: str, taken: set[str]) -> Callable[[str], bytes | None]:
    """Return a function from the name of an attribute to that of its header: empty to send none, None if invalid."""
    ours = {folded(name) for name in taken - set(_TRACES)}
    allowed = {name.lower() for name in (*style.allowed, *_TRACES)}

    def bare(name: str) -> bytes | None:
        # The recipient gets the id of REDRIVE_OF as its idempotency key.
        if name == REDRIVE_OF or (name == style.type_attribute and name.lower() == "content-type"):
            return b""
        if folded(name) in ours or (name.lower() not in allowed and is_denied_to_messages(name)):
            return None
        return header_name(name)

    if style.attributes == BARE:
        return bare
    if style.attributes == OFF or not prefix:
        return lambda name: b""
    return lambda name: header_name(prefix + name)
