"""What verification says: evidence, what nobody can vouch for, and what is vouched for. Values."""

from __future__ import annotations

from typing import Final, NamedTuple

COMPARE: Final = (
    "keep a copy of the directory as it is, compare these offsets with the archive or a backup, and find out who can "
    "write there"
)
FETCH: Final = "fetch it from the archive or a backup, and find out who can write there"
INVESTIGATE: Final = "keep a copy of the directory as it is, and find out who can write there"


class Evidence(NamedTuple):
    """Something that nobody but a person, another program or a bad disk can have done.

    ``kind`` is a word for scripts. ``segment`` is its number, ``None`` for the ledger and the journal. ``file`` is the
    name of the file. ``start`` and ``end`` are offsets: of records for a segment, of bytes for other files; ``None``
    where the whole file is meant. ``raw`` are the offsets of bytes of a compressed segment.
    """

    kind: str
    segment: int | None
    file: str
    start: int | None
    end: int | None
    what: str
    advice: str = COMPARE
    raw: tuple[int, int] | None = None


class Doubt(NamedTuple):
    """Something for which nothing vouches, and nothing has to. The fields are those of :class:`Evidence`.

    ``end`` is ``None`` if it is the end of the file.
    """

    kind: str
    segment: int | None
    file: str
    start: int | None
    end: int | None
    what: str


class Vouched(NamedTuple):
    """How much fits the seals: segments, records and bytes of them, and the range of their times (RFC 3339)."""

    segments: int = 0
    records: int = 0
    bytes: int = 0
    first: str = ""
    last: str = ""

    def and_also(self, records: int, size: int, first: str, last: str) -> Vouched:
        """Return this with one segment more."""
        return Vouched(
            self.segments + 1,
            self.records + records,
            self.bytes + size,
            min(filter(None, (self.first, first)), default=""),
            max(self.last, last),
        )


class Report(NamedTuple):
    """The result for a whole trail.

    ``segments`` is how many there are. ``signed`` is the number of lines of seals, ledger and journal that each key has
    signed, in the order in which the keys were given; ``unchecked`` is the number of signatures without any key.
    """

    segments: int
    vouched: Vouched
    evidence: list[Evidence]
    doubts: list[Doubt]
    signed: tuple[int, ...]
    unchecked: int
