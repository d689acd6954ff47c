"""The filter of dead letters: the conditions of ``--where``, and a text or an expression of the body. Pure.

A condition is a field, an operator and a value: ``status=404``, ``reason~timeout``, ``age>2d``, ``attribute.tenant=a``.
Each dead letter meets exactly one of a condition with ``=`` and that with ``!=``, and so with ``~`` and ``!~``: what
isn't known is an empty text, and the status ``none``. Numbers, times and ages that aren't known meet no comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import ge, gt, le, lt
from typing import Any, Final, NamedTuple, TypeAlias

from courier.audit.instant import parse_instant
from courier.audit.record import rfc3339
from courier.config.units import parse_duration, parse_number, parse_size
from courier.dlq.dead_letter import STATUSES, DeadLetter

EXAMPLES: Final = "status=404, reason~timeout, age>2d or attribute.tenant=acme"
ATTRIBUTE_PREFIX: Final = "attribute."
NONE: Final = "none"

_CONDITION: Final = re.compile(r"([A-Za-z0-9_.-]+)[ \t]*(==|!=|!~|<=|>=|=|~|<|>)(.*)", re.DOTALL)
_HUNDRED: Final = re.compile(r"([1-9])xx")

Test: TypeAlias = Callable[[DeadLetter, float], bool]
"""Takes a dead letter and the Unix time."""

_Compare: TypeAlias = Callable[[Any, Any], bool]

_ORDERS: Final[Mapping[str, _Compare]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_OF_FAILURES: Final = ("answer", "failed", "reason", "source", "status")

_EQUAL: Final = ("=", "==", "!=")
_MATCH: Final = ("~", "!~")


class Condition(NamedTuple):
    """A condition of ``--where``: as it was given, and its test.

    ``has_regex`` says that it may take long, ``by_failure`` that it asks for what the audit log may know.
    """

    text: str
    test: Test
    has_regex: bool = False
    by_failure: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """What a dead letter must meet: all of it. An empty filter admits every one.

    ``text`` is part of the bytes of the body. ``regex`` is searched in the body as text.
    """

    conditions: tuple[Condition, ...] = ()
    text: bytes = b""
    regex: re.Pattern[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it admits every dead letter."""
        return not self.conditions and not self.text and self.regex is None

    @property
    def has_regex(self) -> bool:
        """Whether an expression of the user is searched: it may take long."""
        return self.regex is not None or any(condition.has_regex for condition in self.conditions)

    @property
    def by_failure(self) -> bool:
        """Whether it asks for what the audit log may know of a failure."""
        return any(condition.by_failure for condition in self.conditions)

    def admits(self, letter: DeadLetter, unix_now: float) -> bool:
        """Return whether a dead letter meets it all."""
        if self.text and self.text not in letter.message.body:
            return False
        if not all(condition.test(letter, unix_now) for condition in self.conditions):
            return False
        return self.regex is None or self.regex.search(_body(letter)) is not None


def parse_condition(text: str, now: datetime) -> Condition:
    """Return the condition that a text means; raise ValueError, which says what would be right.

    ``now`` is the time that words such as ``yesterday`` count from.
    """
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} must be a field, an operator and a value, like {EXAMPLES}")
    field, operator, value = match[1], match[2], match[3].strip()
    if operator in _EQUAL and value.startswith("~"):
        # Meant as an expression, but compared with a text that no dead letter has: != would choose them all.
        raise ValueError(f"{text!r} must have one operator: ~ for a regular expression, !~ for its opposite")
    if field.startswith(ATTRIBUTE_PREFIX) and len(field) > len(ATTRIBUTE_PREFIX):
        return Condition(text, *_attribute(field.removeprefix(ATTRIBUTE_PREFIX), operator, value))
    name = field.lower()
    if name in _TEXTS:
        return Condition(text, *_of_text(name, _TEXTS[name], operator, value), name in _OF_FAILURES)
    if name not in _OTHERS:
        fields = ", ".join(sorted({*_TEXTS, *_OTHERS}))
        raise ValueError(f"{text!r} must begin with {fields} or {ATTRIBUTE_PREFIX}NAME")
    return Condition(text, _OTHERS[name](name, operator, value, now), by_failure=name in _OF_FAILURES)


def compile_regex(source: str) -> re.Pattern[str]:
    """Return a user's expression; raise ValueError, which says what would be right.

    An empty one, such as a shell makes of a variable that isn't set, would match everything.
    """
    if not source:
        raise ValueError("it is empty and would match everything; it must be a regular expression")
    try:
        return re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{error or 'it is nested too deeply'}; it must be a regular expression") from None


def _body(letter: DeadLetter) -> str:
    return letter.message.body.decode("utf-8", "surrogateescape")


_Read: TypeAlias = Callable[[DeadLetter], str]

_TEXTS: Final[Mapping[str, _Read]] = {
    "answer": lambda letter: letter.failure.answer,
    "body": _body,
    "group": lambda letter: letter.message.group,
    "id": lambda letter: letter.message_id,
    "original": lambda letter: letter.original_id,
    "reason": lambda letter: letter.failure.reason,
    "source": lambda letter: letter.source_queue,
}


def _of_text(name: str, read: _Read, operator: str, value: str) -> tuple[Test, bool]:
    """Return the test of a text, and whether it is a regular expression."""
    if operator in _MATCH:
        pattern, wanted = compile_regex(value), operator == "~"
        return lambda letter, _: (pattern.search(read(letter)) is not None) is wanted, True
    if operator not in _EQUAL:
        raise _wrong(name, operator, (*_EQUAL, *_MATCH))
    equal = operator != "!="
    return lambda letter, _: (read(letter) == value) is equal, False


def _attribute(name: str, operator: str, value: str) -> tuple[Test, bool]:
    if operator not in _ORDERS:
        return _of_text(name, lambda letter: letter.attribute(name) or "", operator, value)
    compare, number = _ORDERS[operator], parse_number(value)
    if number != number:
        raise ValueError(f"attribute.{name}{operator}: {value!r} must be a number; texts are compared with = and ~")
    # An attribute that is no number is NaN here, which meets no comparison.
    return lambda letter, _: compare(parse_number(letter.attribute(name)), number), False


def _status(name: str, operator: str, value: str, _now: datetime) -> Test:
    if operator in _ORDERS:
        compare, wanted = _ORDERS[operator], _whole(name, value)
        return lambda letter, _: letter.failure.status is not None and compare(letter.failure.status, wanted)
    if operator not in _EQUAL:
        raise _wrong(name, operator, (*_EQUAL, *_ORDERS))
    statuses, equal = _statuses(value), operator != "!="
    return lambda letter, _: (letter.failure.status in statuses) is equal


def _statuses(value: str) -> set[int | None]:
    found: set[int | None] = set()
    for part in (part.strip().lower() for part in value.split(",")):
        low, dash, high = part.partition("-")
        if part == NONE:
            found.add(None)
        elif hundred := _HUNDRED.fullmatch(part):
            found.update(range(int(hundred[1]) * 100, int(hundred[1]) * 100 + 100))
        elif _is_status(low) and (not dash or _is_status(high)) and low <= (high or low):
            found.update(range(int(low), int(high or low) + 1))
        else:
            raise ValueError(f"status: {part!r} must be a status, like 404, 5xx, 400-499 or {NONE} (no answer)")
    return found


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit() and int(text) in STATUSES


def _receives(name: str, operator: str, value: str, _now: datetime) -> Test:
    return _number(name, operator, _whole(name, value), lambda letter, _: letter.message.receive_count)


def _size(name: str, operator: str, value: str, _now: datetime) -> Test:
    wanted = parse_size(value)
    if wanted is None:
        raise ValueError(f"{name}: {value!r} must be a size, like 1000 or 64KiB")
    return _number(name, operator, wanted, lambda letter, _: len(letter.message.body))


def _number(name: str, operator: str, wanted: int, read: Callable[[DeadLetter, float], int]) -> Test:
    if operator in _ORDERS:
        compare = _ORDERS[operator]
        return lambda letter, now: compare(read(letter, now), wanted)
    if operator not in _EQUAL:
        raise _wrong(name, operator, (*_EQUAL, *_ORDERS))
    equal = operator != "!="
    return lambda letter, now: (read(letter, now) == wanted) is equal


def _age(name: str, operator: str, value: str, _now: datetime) -> Test:
    compare, seconds = _order(name, operator), parse_duration(value)
    if seconds is None:
        raise ValueError(f"{name}: {value!r} must be a time, like 90s, 30m, 12h or 2d")
    return lambda letter, now: letter.message.sent_ms > 0 and compare(letter.age(now), seconds)


def _instant(name: str, operator: str, value: str, now: datetime) -> Test:
    compare = _order(name, operator)
    try:
        wanted = parse_instant(value, now)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    read: _Read = (lambda letter: letter.failure.failed_at) if name == "failed" else _sent_at
    return lambda letter, _: bool(at := read(letter)) and compare(at, wanted)


def _sent_at(letter: DeadLetter) -> str:
    return rfc3339(letter.message.sent_ms) if letter.message.sent_ms > 0 else ""


_OTHERS: Final[Mapping[str, Callable[[str, str, str, datetime], Test]]] = {
    "age": _age,
    "failed": _instant,
    "receives": _receives,
    "sent": _instant,
    "size": _size,
    "status": _status,
}


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise ValueError(f"{name}: {value!r} must be a whole number")
    return int(value)


def _order(name: str, operator: str) -> _Compare:
    if operator not in _ORDERS:
        raise _wrong(name, operator, tuple(_ORDERS))
    return _ORDERS[operator]


def _wrong(name: str, operator: str, operators: tuple[str, ...]) -> ValueError:
    return ValueError(f"{name}: {operator} must be one of {' '.join(each for each in operators if each != '==')}")
