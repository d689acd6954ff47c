"""Headers with placeholders that each message fills, like ``X-Queue: {queue}``, read and checked once at the start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from string import Formatter
from typing import Final, NamedTuple, NoReturn

from courier.http.head import header_name, header_value
from courier.request.header_rules import refusal

PLACEHOLDERS: Final = (
    "queue",
    "message_id",
    "original_id",
    "receive_count",
    "sent_at",
    "first_received_at",
    "sender_id",
    "group",
    "receipt",
    "trace",
    "traceparent",
)
ATTRIBUTE: Final = "attribute."
"""The prefix of the placeholder of a message attribute; the attribute's name follows it."""

_ATTRIBUTE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")


class Part(NamedTuple):
    """A text, and the placeholder that follows it; empty without one."""

    text: str
    placeholder: str


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """A header; its value is its parts in a row. ``str`` returns only the name, since the value may be a secret."""

    name: str
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"HeaderTemplate({self.name!r})"

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders in the value."""
        return frozenset(part.placeholder for part in self.parts if part.placeholder)

    def filled(self, placeholder: str, text: str) -> HeaderTemplate:
        """Return the template with a text in the place of a placeholder."""
        parts = []
        before = ""
        for part in self.parts:
            before += part.text
            if part.placeholder == placeholder:
                before += text
            else:
                parts.append(Part(before, part.placeholder))
                before = ""
        return HeaderTemplate(self.name, tuple(parts) if not before else (*parts, Part(before, "")))

    @property
    def text(self) -> str:
        """The value of a template without placeholders."""
        return "".join(part.text for part in self.parts)


def parse_header(text: str) -> HeaderTemplate:
    """Return the template in ``Name: value with {placeholders}``; ``{{`` and ``}}`` are braces.

    Raises ValueError, which says what would be right and never shows the value.
    """
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or header_name(name) is None:
        raise ValueError("must be a name, a colon and a value, like 'X-Queue: {queue}'")
    if reason := refusal(name):
        raise ValueError(f"{name} {reason}")
    try:
        parsed = list(Formatter().parse(value.strip(" \t")))
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).lower()}; a brace that is none of a placeholder is doubled") from None
    parts = []
    for literal, placeholder, form, conversion in parsed:
        if header_value(literal) is None:
            raise ValueError(f"{name}: the value must be printable ASCII on one line")
        if placeholder is not None:
            _check_placeholder(name, placeholder, bool(form or conversion))
        parts.append(Part(literal, placeholder or ""))
    return HeaderTemplate(name, tuple(parts))


def check_distinct(headers: Sequence[HeaderTemplate]) -> None:
    """Raise ValueError if two headers have the same name."""
    seen: set[str] = set()
    for header in headers:
        if header.name.lower() in seen:
            raise ValueError(f"{header.name} is given twice; give each header once")
        seen.add(header.name.lower())


def _check_placeholder(name: str, placeholder: str, formatted: bool) -> None:
    if formatted:
        _refuse(name, "a placeholder takes no format", placeholder)
    if placeholder.startswith(ATTRIBUTE):
        if not _ATTRIBUTE_NAME.fullmatch(placeholder.removeprefix(ATTRIBUTE)):
            _refuse(name, "the name of a message attribute has letters, digits, _, - and dots", placeholder)
    elif placeholder not in PLACEHOLDERS:
        _refuse(name, "there is no such placeholder", placeholder)


def _refuse(name: str, reason: str, placeholder: str) -> NoReturn:
    near = get_close_matches(placeholder, PLACEHOLDERS, n=1, cutoff=0.6)
    hint = f"did you mean {{{near[0]}}}? " if near and near[0] != placeholder else ""
    raise ValueError(f"{name}: {reason}; {hint}the placeholders are {', '.join(PLACEHOLDERS)}, {ATTRIBUTE}NAME")
