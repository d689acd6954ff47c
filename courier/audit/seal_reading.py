"""A reader of a segment's seal where its truth is in question: its checkpoints, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from courier.audit.chain import Link
from courier.audit.chain_reading import ChainReading, follow_chain
from courier.audit.seal import BY_RECOVERY, CHECKPOINT, FINAL, STORED, Checkpoint
from courier.audit.segment import segment_of

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 2**62
NOT_OURS: Final = "a line has fields that Courier does not write"


class Stored(NamedTuple):
    """The size and the SHA-256 of a compressed file."""

    size: int
    sha256: str


class SealReading(NamedTuple):
    """What a seal says.

    ``previous`` is that of its first line, ``final`` the hash of its FINAL line; they are ``None`` if it has none.
    ``belongs_to`` is the stem that its lines name, empty without lines. ``at`` is the instant of the last checkpoint,
    ``recovered`` whether the FINAL line is by the next start. ``stored`` has the compressed files by their names.
    """

    chain: ChainReading
    belongs_to: str
    number: int
    previous: str | None
    final: str | None
    recovered: bool
    at: str
    checkpoints: list[Checkpoint]
    stored: Mapping[str, Stored]


def read_seal(file: IO[bytes], keys: Sequence[Ed25519PublicKey]) -> SealReading:
    """Return what a seal says, up to its first line that doesn't fit; raise OSError."""
    facts = _Facts()
    chain = follow_chain(file, None, keys, facts.take, lambda link: link.fields.get("seal") == STORED)
    return SealReading(
        chain,
        facts.belongs_to,
        facts.number,
        facts.previous,
        facts.final,
        facts.recovered,
        facts.at,
        facts.checkpoints,
        facts.stored,
    )


class _Facts:
    def __init__(self) -> None:
        self.belongs_to = ""
        self.number = 0
        self.previous: str | None = None
        self.final: str | None = None
        self.recovered = False
        self.at = ""
        self.checkpoints: list[Checkpoint] = []
        self.stored: dict[str, Stored] = {}

    def take(self, link: Link) -> str:
        """Take a line; return what is wrong with it."""
        fields = link.fields
        file = fields.get("file")
        named = segment_of(Path(file)) if isinstance(file, str) and "/" not in file and "\0" not in file else None
        if named is None or not isinstance(fields.get("at"), str) or not is_count(fields.get("segment")):
            return NOT_OURS
        if self.belongs_to and (named.stem, fields["segment"]) != (self.belongs_to, self.number):
            return "a line is one of another segment's seal"
        what = self._stored(fields) if fields.get("seal") == STORED else self._checkpoint(link)
        if not what and not self.belongs_to:
            self.belongs_to, self.number = named.stem, fields["segment"]
        return what

    def _checkpoint(self, link: Link) -> str:
        fields = link.fields
        kind = fields.get("seal")
        numbers = (fields.get("offset"), fields.get("records"))
        texts = [fields.get(name) for name in ("sha256", "first", "last", "by", "previous")]
        if kind not in (CHECKPOINT, FINAL) or not all(map(is_count, numbers)):
            return NOT_OURS
        if not all(isinstance(text, str) for text in texts) or not _SHA256.fullmatch(fields["sha256"]):
            return NOT_OURS
        if self.final is not None:
            return "a line follows the final one"
        if self.previous is not None and fields["previous"] != self.previous:
            return "a line names another segment before"
        checkpoint = Checkpoint(*(fields[name] for name in Checkpoint._fields))
        if self.checkpoints and _is_before(checkpoint, self.checkpoints[-1]):
            return "a checkpoint goes back"
        self.previous = fields["previous"]
        self.at = fields["at"]
        self.checkpoints.append(checkpoint)
        if kind == FINAL:
            self.final = link.hash
            self.recovered = fields["by"] == BY_RECOVERY
        return ""

    def _stored(self, fields: Mapping[str, Any]) -> str:
        size, digest = fields.get("stored_bytes"), fields.get("stored_sha256")
        if self.final is None:
            return "a compressed file is sealed before the end of its segment"
        if not is_count(size) or size is None or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            return NOT_OURS
        self.stored[fields["file"]] = Stored(int(size), digest)
        return ""


def is_count(value: object) -> bool:
    """Return whether a JSON value is a number of something."""
    return type(value) is int and 0 <= value < _MOST


def _is_before(one: Checkpoint, other: Checkpoint) -> bool:
    return one.offset < other.offset or one.records < other.records
