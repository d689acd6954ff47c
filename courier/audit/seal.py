"""The seal of a segment: its checkpoints, a chain of lines beside it. Pure.

A checkpoint says how many bytes and records of the segment there were, and the SHA-256 of all these bytes. The first
line's ``previous`` is the hash of the final line of the segment before, so that segments form one chain. It is empty
where nothing was sealed before.

``seal`` is the kind of the line. CHECKPOINT: the segment went on. FINAL: it ended, and nothing may follow. STORED: its
compressed file has ``stored_bytes`` with the SHA-256 ``stored_sha256``; it comes after FINAL, and the chain of segments
continues from FINAL, so that a segment can be compressed at any time.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

CHECKPOINT: Final = "checkpoint"
FINAL: Final = "final"
STORED: Final = "stored"

BY_WRITER: Final = "writer"
BY_RECOVERY: Final = "recovery"


class Checkpoint(NamedTuple):
    """How far a segment was: its bytes and records, the SHA-256 of the bytes, and the range of the records' times.

    ``first`` and ``last`` are the least and the greatest ``time`` of its records (RFC 3339), empty if it has none.
    """

    offset: int
    records: int
    sha256: str
    first: str
    last: str


def checkpoint_fields(
    kind: str, name: str, number: int, at: str, checkpoint: Checkpoint, previous: str, by: str
) -> dict[str, Any]:
    """Return the fields of a CHECKPOINT or FINAL line.

    ``name`` is the file of the plain segment, ``at`` the instant of the line (RFC 3339), ``previous`` the hash of the
    final line of the segment before. ``by`` is BY_WRITER, or BY_RECOVERY if the next process found the segment so.
    """
    return {
        "seal": kind,
        "segment": number,
        "file": name,
        "previous": previous,
        **checkpoint._asdict(),
        "at": at,
        "by": by,
    }


def stored_fields(name: str, number: int, at: str, size: int, digest: str) -> dict[str, Any]:
    """Return the fields of a STORED line. ``name`` is the compressed file; size and digest are those of its bytes."""
    return {
        "seal": STORED,
        "segment": number,
        "file": name,
        "stored_bytes": size,
        "stored_sha256": digest,
        "at": at,
    }
