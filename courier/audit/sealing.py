"""What the chores of the audit log have from their thread: the directory, the key, and the seals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from courier.audit.chain_file import ChainFile
from courier.audit.segment import Segment

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LEDGER_NAME: Final = "courier.ledger"
"""The chain in which retention records what it removes."""

JOURNAL_NAME: Final = "courier.archive"
"""The chain that records what the archive has."""


class Sealing:
    """The seals and the other chains of a directory. All calls block, and come from the thread of the upkeep."""

    def __init__(self, directory: Path, key: Ed25519PrivateKey | None = None) -> None:
        """``key`` signs every line."""
        self.directory = directory
        self.key = key
        self.lines = 0
        """How many lines the seals have got."""
        self._seal: ChainFile | None = None

    def append(self, segment: Segment, fields: Mapping[str, Any]) -> str:
        """Add a line to the seal of a segment durably, and return its hash; raise OSError.

        The first line of a seal needs the field ``previous``.
        """
        digest = self.seal(segment).append(fields)
        self.lines += 1
        return digest

    def seal(self, segment: Segment) -> ChainFile:
        """Return the seal of a segment."""
        # The last one is kept, because most lines are for the same segment, and a seal is read before its first line.
        if self._seal is None or self._seal.path != segment.seal:
            self._seal = ChainFile(segment.seal, self.key, begins_with=None)
        return self._seal

    def chain(self, name: str) -> ChainFile:
        """Return the chain with this name: LEDGER_NAME or JOURNAL_NAME. Its owner keeps it."""
        return ChainFile(self.directory / name, self.key)


class Chore(Protocol):
    """Work on the sealed segments: to compress, archive or remove them."""

    def step(self, sealed: Sequence[Segment], /) -> float:
        """Do what is due, without blocking for long, and return the seconds until the next call; infinity: no need.

        ``sealed`` are the segments of the directory whose seals are final, oldest first, listed just now. It is called
        early when a seal has one more line. It may raise OSError, which is logged, and is then called again later.
        """
        ...


@runtime_checkable
class LastingChore(Chore, Protocol):
    """A chore whose work takes a while, and that has something to finish at the end of the program."""

    def finish(self, sealed: Callable[[], Sequence[Segment]], seconds: float, /) -> None:
        """Finish what can be finished within so many seconds, and stop. ``sealed`` returns those of :meth:`step`."""
        ...


ChoreMaker = Callable[[Sealing], Chore]
"""Makes a chore, in the thread of the upkeep, once the segments of predecessors are sealed. It may raise OSError."""
