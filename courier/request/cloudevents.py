"""CloudEvents 1.0 in the binary mode of HTTP: the attributes of an event as headers, its data as the body.

An attribute of the event comes from the message attribute of its name with a prefix, else from an option or from what
SQS knows of the message. The sources are the specification of CloudEvents 1.0.2 and its binding to HTTP, section 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from courier.message import Attribute, Message, redrive_of
from courier.request.head import media_type
from courier.request.head_layout import Read, attribute_value, iso_8601, value_reader
from courier.request.header_rules import folded
from courier.request.header_templates import HeaderTemplate, parse_header

SPECVERSION: Final = "1.0"
CONTENT_TYPE: Final = "Content-Type"
"""The message attribute in which the head of an event finds its content type."""

REQUIRED: Final = ("id", "source", "type")

_NAME: Final = re.compile(r"(?:ce[-_]|cloudevents[:_])([a-z0-9]{1,64})", re.IGNORECASE)
"""The names of SQS's attributes have no colon, but those of other bindings do."""

_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_STRUCTURED: Final = "application/cloudevents"
"""The beginning of media types by which a recipient would read the event from the body, whatever the headers say."""

_NO_EXTENSIONS: Final = frozenset(("data", "specversion", "datacontenttype"))
_PLAIN_TEXT: Final = re.compile(r"[!#$&-~]*")
_PLAIN: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class NoEventError(ValueError):
    """A message that has no value for an attribute that every event must have."""


class Event(NamedTuple):
    """The event of a message: the header lines that it must have, the other ones, and the attributes that are left.

    ``dropped`` counts attributes of the event that have no valid value.
    """

    required: bytes
    optional: bytes
    attributes: tuple[Attribute, ...]
    dropped: int


class EventTemplate:
    """The texts of an event's source, type and subject, for messages without an attribute for it."""

    def __init__(
        self, texts: Mapping[str, str], queue_name: str, own: Collection[str] = (), type_attribute: str = ""
    ) -> None:
        """``texts`` are templates by attribute; ``own`` are the operator's own headers.

        ``type_attribute`` is the message attribute with the content type, for a message without that of the event.
        """
        self._own = frozenset(map(str.lower, own))
        self._type_attribute = type_attribute
        self._given: list[tuple[str, HeaderTemplate, Read]] = []
        # Most texts are the same for all messages.
        self._fixed: dict[str, str] = {}
        for name, text in texts.items():
            if text:
                template = read_template(name, text).filled("queue", queue_name)
                if template.placeholders:
                    self._given.append((name, template, value_reader(template)))
                else:
                    self._fixed[name] = template.text
        self._version = self._line("specversion", SPECVERSION)
        self._fixed_lines = {name: self._line(name, text) for name, text in self._fixed.items()}

    def event(self, message: Message) -> Event:
        """Return the event of a message. Raise NoEventError if it lacks what every event must have."""
        found, others = _sorted(message.attributes)
        dropped = len(message.attributes) - len(others) - len(found)
        if "id" not in found:
            found["id"] = redrive_of(message.attributes) or message.message_id
        for name, template, read in self._given:
            if name not in found and (value := _fill(template, read(message))):
                found[name] = value
        for name in REQUIRED:
            if name not in found and name not in self._fixed:
                raise NoEventError(
                    f"it has no {name}: neither an attribute ce-{name} nor what --cloudevents-{name} names"
                )
        if "time" not in found:
            found["time"] = _sent_at(message)
        elif not _is_time(found["time"]):
            found["time"] = ""
            dropped += 1
        if others:
            others = [each for each in others if each.name != CONTENT_TYPE]
        content_type = found.get("datacontenttype")
        if content_type is None and self._type_attribute:
            content_type = attribute_value(message, self._type_attribute)
        if content_type is not None:
            if media_type(content_type) is None or is_structured(content_type):
                dropped += 1
            else:
                others.append(Attribute(CONTENT_TYPE, "String", content_type))
        required, optional = self._version, ""
        for name, text in found.items():
            if name in REQUIRED:
                required += self._line(name, text)
            elif text and name not in _NO_EXTENSIONS:
                optional += self._line(name, text)
        for name, line in self._fixed_lines.items():
            if name not in found:
                required += line
        return Event(required.encode("ascii"), optional.encode("ascii"), tuple(others), dropped)

    def _line(self, name: str, text: str) -> str:
        return "" if f"ce-{name}" in self._own else f"ce-{name}: {encode(text)}\r\n"


def read_template(name: str, text: str) -> HeaderTemplate:
    """Return the template of an attribute. Raise ValueError, which says what would be right."""
    try:
        return parse_header(f"ce-{name}: {text}")
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"ce-{name}: ")) from None


def encode(text: str) -> str:
    """Return the value of an attribute as that of a header: section 3.1.3.2 of the binding to HTTP."""
    return text if _PLAIN_TEXT.fullmatch(text) else quote(text, safe=_PLAIN, errors="replace")


def is_structured(content_type: str) -> bool:
    """Return whether a content type says that the body is the whole event, so that the headers don't count."""
    return content_type.strip().lower().startswith(_STRUCTURED)


def _sorted(attributes: tuple[Attribute, ...]) -> tuple[dict[str, str], list[Attribute]]:
    """Return the values of the event's attributes by name, the first of each, and the other attributes of the message.

    What a recipient could take for one, because it folds the names of headers, is in neither.
    """
    values: dict[str, str] = {}
    others = []
    for attribute in attributes:
        match = _NAME.fullmatch(attribute.name)
        if match is not None and attribute.value:
            values.setdefault(match[1].lower(), attribute.value)
        elif not folded(attribute.name).startswith("ce-"):
            others.append(attribute)
    return values, others


def _fill(template: HeaderTemplate, values: str | tuple[str, ...] | None) -> str:
    """Return the text of a template; empty if the message lacks a value for it."""
    if not template.placeholders:
        return template.text
    if not values:
        return ""
    given = iter((values,) if isinstance(values, str) else values)
    return "".join(text + (next(given) if placeholder else "") for text, placeholder in template.parts)


def _sent_at(message: Message) -> str:
    second = iso_8601(message.sent_ms // 1000).decode() if message.sent_ms else ""
    # A year of RFC 3339 has four digits.
    return f"{second[:-1]}.{message.sent_ms % 1000:03d}Z" if len(second) == len("2018-04-05T17:31:00Z") else ""


def _is_time(text: str) -> bool:
    """Return whether a text is an instant of RFC 3339."""
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    try:
        datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    except ValueError:
        return False
    return True
