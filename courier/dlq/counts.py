"""The counts of dead letters by one of their properties, in bounded memory. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from courier.audit.record import rfc3339
from courier.audit.top_keys import TopKeys
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.filter import ATTRIBUTE_PREFIX

UNKNOWN: Final = "unknown"
NONE: Final = "none"
KEYS: Final = 1000
"""Keys that are counted exactly, at least."""

Key = Callable[[DeadLetter], str]


def _day(letter: DeadLetter) -> str:
    return (letter.failure.failed_at or _sent_at(letter))[:10] or UNKNOWN


def _status(letter: DeadLetter) -> str:
    if letter.failure.status is not None:
        return str(letter.failure.status)
    return NONE if letter.failure.reason else UNKNOWN


_BY: Final[Mapping[str, Key]] = {
    "reason": lambda letter: letter.failure.reason or UNKNOWN,
    "status": _status,
    "day": _day,
    "group": lambda letter: letter.message.group or NONE,
    "source": lambda letter: letter.source_queue or UNKNOWN,
}


class Group:
    """What is counted for a key: messages, bytes of bodies, the first and last time of a failure, and one id."""

    __slots__ = ("bytes", "example", "messages", "newest", "oldest")

    def __init__(self) -> None:
        self.messages = self.bytes = 0
        self.oldest = self.newest = self.example = ""

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter. Its time is that of its failure, or else when it was sent."""
        self.messages += 1
        self.bytes += len(letter.message.body)
        self.example = self.example or letter.message_id
        if at := letter.failure.failed_at or _sent_at(letter):
            self.oldest = min(self.oldest or at, at)
            self.newest = max(self.newest, at)


class Counts:
    """Counts dead letters in total and by a key: ``by`` is one of :func:`keys`, or attribute.NAME."""

    def __init__(self, by: str) -> None:
        self.by = by
        self.total = Group()
        self._key = key_of(by)
        self._groups = TopKeys[Group](KEYS, Group)

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter."""
        self.total.add(letter)
        self._groups.add(self._key(letter)).add(letter)

    def top(self, number: int) -> list[tuple[str, Group, int]]:
        """Return the most frequent keys in order, days in theirs, and by how much each may be counted too low."""
        found = [(key, entry.value, entry.missed) for key, entry in self._groups.top(number)]
        return sorted(found, key=lambda each: each[0]) if self.by == "day" else found

    def is_cut(self, number: int) -> bool:
        """Return whether there are more keys than so many."""
        return len(self._groups.values()) > number or not self._groups.is_exact


def key_of(by: str) -> Key:
    """Return what dead letters are counted by; raise ValueError, which says what would be right."""
    if by in _BY:
        return _BY[by]
    name = by.removeprefix(ATTRIBUTE_PREFIX)
    if name == by or not name:
        raise ValueError(f"{by!r} must be {', '.join(_BY)} or {ATTRIBUTE_PREFIX}NAME")
    return lambda letter: letter.attribute(name) or NONE


def _sent_at(letter: DeadLetter) -> str:
    return rfc3339(letter.message.sent_ms) if letter.message.sent_ms > 0 else ""
