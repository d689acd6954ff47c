"""The place of an archive in S3, and the keys of its objects. Pure.

The place is ``s3://bucket/prefix``. A segment lies under the date on which it was begun, and its seal beside it::

    prefix/2026/11/25/courier-000042-20261125T093000Z.jsonl.zst
    prefix/2026/11/25/courier-000042-20261125T093000Z.seal
    prefix/courier.archive      a copy of the journal, see courier.audit.journal
    prefix/courier.ledger       a copy of the ledger of retention
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

SCHEME: Final = "s3://"
EXAMPLE: Final = "s3://my-bucket/courier/host-1"

LONGEST_PREFIX: Final = 900
"""Bytes; a key has at most 1,024, of which the date and a segment's name need about 70."""

_BUCKET: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()=@:,+~-]+(?:/[A-Za-z0-9!_.*'()=@:,+~-]+)*")


class ArchivePlace(NamedTuple):
    """A bucket, and the prefix of all keys in it, without slashes at its ends; it may be empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """Return the key of an object directly under the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def dated_key(self, begun: str, name: str) -> str:
        """Return the key of a file of a segment that was ``begun`` (UTC, compact), under that date."""
        return self.key(f"{begun[:4]}/{begun[4:6]}/{begun[6:8]}/{name}")


class ArchiveSettings(NamedTuple):
    """Where the archive is: its place (``s3://bucket/prefix``), the region, the endpoint, and the audit directory."""

    place: str
    region: str | None
    endpoint_url: str | None
    directory: Path


def archive_place(url: str) -> ArchivePlace:
    """Return the place that a URL means; raise ValueError, whose text says what would be right."""
    if not url.startswith(SCHEME):
        raise ValueError(f"must be a URL like {EXAMPLE}")
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    prefix = prefix.removesuffix("/")
    if not _BUCKET.fullmatch(bucket) or _ADDRESS.fullmatch(bucket):
        raise ValueError(
            f"names no bucket: a URL like {EXAMPLE}, with a bucket of 3 to 63 lower-case letters, digits, hyphens and "
            "single dots"
        )
    parts = prefix.split("/") if prefix else []
    if len(prefix) > LONGEST_PREFIX or (prefix and not _PREFIX.fullmatch(prefix)) or {".", ".."} & set(parts):
        raise ValueError(
            f"must have a prefix of up to {LONGEST_PREFIX} letters, digits and !_.*'()=@:,+~- between single slashes, "
            f"as in {EXAMPLE}"
        )
    return ArchivePlace(bucket, prefix)
