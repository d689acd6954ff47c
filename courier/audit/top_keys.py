"""The most frequent ones of any number of keys, in bounded memory. Pure.

It is exact as long as there are fewer keys than it holds. Beyond that, it drops the rarest ones and remembers how often
a dropped key can have come, so that each count has bounds. A key that comes more often than that is never missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

LONGEST_KEY: Final = 200
"""Characters that are kept of a key."""

_Value = TypeVar("_Value")


class Entry(Generic[_Value]):
    """A key's count, by how much it may be too low, and what else is kept for the key."""

    __slots__ = ("count", "missed", "value")

    def __init__(self, missed: int, value: _Value) -> None:
        self.count = 0
        self.missed = missed
        self.value = value


class TopKeys(Generic[_Value]):
    """Counts keys. It holds at most twice ``capacity`` of them."""

    def __init__(
        self, capacity: int, new: Callable[[], _Value], drop: Callable[[_Value], None] = lambda value: None
    ) -> None:
        """``new`` returns what is kept for a new key, and ``drop`` takes it back if the key is dropped."""
        self._capacity = capacity
        self._new = new
        self._give_back = drop
        self._entries: dict[str, Entry[_Value]] = {}
        self._dropped = 0

    def add(self, key: str) -> _Value:
        """Count a key, and return what is kept for it."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._enter(key[:LONGEST_KEY])
        entry.count += 1
        return entry.value

    def top(self, number: int) -> list[tuple[str, Entry[_Value]]]:
        """Return the most frequent keys in order, without those that the dropped ones may exceed."""
        sure = [item for item in self._entries.items() if not self._dropped or item[1].count > 2 * self._dropped]
        return sorted(sure, key=lambda item: (-item[1].count, item[0]))[:number]

    def values(self) -> list[_Value]:
        """Return what is kept for all keys."""
        return [entry.value for entry in self._entries.values()]

    @property
    def is_exact(self) -> bool:
        """Whether no key was ever dropped."""
        return self._dropped == 0

    def _enter(self, key: str) -> Entry[_Value]:
        if key in self._entries:
            return self._entries[key]
        if len(self._entries) >= 2 * self._capacity:
            self._drop()
        self._entries[key] = entry = Entry(self._dropped, self._new())
        return entry

    def _drop(self) -> None:
        """Drop the rarer half."""
        ranked = sorted(self._entries.items(), key=lambda item: -(item[1].count + item[1].missed))
        self._entries = dict(ranked[: self._capacity])
        for _, entry in ranked[self._capacity :]:
            self._give_back(entry.value)
        rarest = ranked[self._capacity][1]
        self._dropped = max(self._dropped, rarest.count + rarest.missed)
