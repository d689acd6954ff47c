"""Readers of the ledger of retention and the journal of the archive, where their truth is in question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from courier.audit.chain import Link
from courier.audit.chain_reading import EMPTY, ChainReading, Span, follow_chain
from courier.audit.seal_reading import NOT_OURS, is_count
from courier.audit.segment import segment_of
from courier.audit.trail import JOURNAL, LEDGER, CannotRead, Trail


class Removed(NamedTuple):
    """The newest segment that retention removed: its number, the hash of its FINAL line, and whether it was legacy.

    ``final`` is empty if it had no seal.
    """

    number: int
    final: str
    legacy: bool


class Archived(NamedTuple):
    """A file in the archive: its name, its key, its size, its SHA-256 and the hash of the segment's FINAL line."""

    file: str
    key: str
    size: int
    sha256: str
    final: str


class Ledger(NamedTuple):
    """What the ledger says, and what it is worth."""

    chain: ChainReading = EMPTY
    removed: Removed | None = None


class Journal(NamedTuple):
    """What the journal says, and what it is worth. ``stored`` are the files of segments by number, ``here`` the numbers
    of those that went to the place where the archive is now.
    """

    chain: ChainReading = EMPTY
    stored: Mapping[int, Sequence[Archived]] = {}
    here: frozenset[int] = frozenset()


def read_ledger(trail: Trail, keys: Sequence[Ed25519PublicKey]) -> Ledger:
    """Return what the ledger says, nothing if there is none. Raise CannotRead."""
    removed: list[Removed] = []

    def take(link: Link) -> str:
        number, file, final = (link.fields.get(name) for name in ("segment", "file", "final"))
        segment = segment_of(Path(file)) if isinstance(file, str) and "\0" not in file else None
        if not is_count(number) or segment is None or not isinstance(final, str):
            return NOT_OURS
        if segment.number != number:
            return NOT_OURS
        last = Removed(segment.number, final, segment.legacy)
        if not removed or (not last.legacy, last.number) >= (not removed[0].legacy, removed[0].number):
            removed[:] = [last]
        return ""

    chain = _follow(trail, LEDGER, keys, take)
    return Ledger(chain, removed[0] if removed else None)


def read_journal(trail: Trail, keys: Sequence[Ed25519PublicKey]) -> Journal:
    """Return what the journal says, nothing if there is none. Raise CannotRead."""
    stored: dict[int, list[Archived]] = {}
    here: set[int] = set()

    def take(link: Link) -> str:
        fields = link.fields
        if fields.get("archive") != "stored":
            here.clear()
            return ""
        number, size = fields.get("segment"), fields.get("bytes")
        texts = [fields.get(name, "") for name in ("file", "key", "sha256", "final")]
        if not is_count(number) or not is_count(size) or not all(isinstance(text, str) for text in texts):
            return NOT_OURS
        file, key, digest, final = texts
        stored.setdefault(int(number or 0), []).append(Archived(file, key, int(size or 0), digest, final))
        here.add(int(number or 0))
        return ""

    chain = _follow(trail, JOURNAL, keys, take)
    return Journal(chain, stored, frozenset(here))


def _follow(trail: Trail, name: str, keys: Sequence[Ed25519PublicKey], take: Callable[[Link], str]) -> ChainReading:
    entry = trail.chain(name)
    if entry is None:
        return EMPTY
    if entry.strange:
        return EMPTY._replace(fault=Span(0, 0, f"it is {entry.strange}, and Courier makes only plain files"))
    try:
        with trail.open(entry) as file:
            return follow_chain(file, "", keys, take)
    except FileNotFoundError:
        return EMPTY
    except OSError as error:
        raise CannotRead(f"cannot read {entry.where}: {error.strerror or error}; look at the disk and dmesg") from error
