"""The type of the table of the scoreboard's words: the properties of a word, and its place in a slot.

The rows are in :mod:`courier.process.scoreboard`. Metrics, totals and rates are generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Flag, auto
from typing import Final, NamedTuple

LINE_WORDS: Final = 8
"""Words in a cache line."""


class Kind(Flag):
    """The kind of a word: one of the first five, optionally with ``REAL`` or ``METRIC``.

    - ``COUNTER``: it only grows, and a slot keeps it over restarts.
    - ``TOTAL``: a counter that /status shows under totals; ``RATE``: under totals and rates.
    - ``GAUGE``: a current value of this process, so it is zeroed when the process is reaped.
    - ``RECORD``: it stays until it is overwritten, because other workers or the successor need it.
    - ``REAL``: a float64, mostly a time in seconds of ``time.monotonic()``. All others are unsigned integers.
    - ``METRIC``: also a metric with the same kind and name, summed over the workers.
    """

    COUNTER = auto()
    TOTAL = auto()
    RATE = auto()
    GAUGE = auto()
    RECORD = auto()
    REAL = auto()
    METRIC = auto()


class Word(NamedTuple):
    """A word in each slot of a role (``worker``: of every role), or an area of ``size`` words from ``place`` on.

    The words of an area are counts by ``label``; the code that counts defines its values. The words of a histogram are
    counts by ``bounds``, not cumulative, and the next word is its sum.
    """

    place: int
    name: str
    role: str
    kind: Kind
    help: str
    size: int
    label: str
    bounds: Sequence[float]


class Table(list[Word]):
    """All words, in the order of their places."""

    def add(
        self,
        role: str,
        kind: Kind,
        text: str,
        name: str = "",
        *,
        size: int = 1,
        label: str = "",
        bounds: Sequence[float] = (),
    ) -> int:
        """Add a word or an area, and return its place. Without a ``name``, :meth:`name_all` names it."""
        place = self.end()
        self.append(Word(place, name, role, kind, text, len(bounds) or size, label, bounds))
        return place

    def end(self) -> int:
        """Return the place after the last word."""
        return self[-1].place + self[-1].size if self else 0

    def slot_words(self) -> int:
        """Return the number of words in a slot: whole cache lines, so that neighbours don't slow each other down."""
        return -(-self.end() // LINE_WORDS) * LINE_WORDS

    def name_all(self, constants: Mapping[str, object]) -> None:
        """Name each unnamed word after the constant with its place."""
        names = {place: name.lower() for name, place in constants.items() if isinstance(place, int)}
        self[:] = [word._replace(name=word.name or names[word.place]) for word in self]
