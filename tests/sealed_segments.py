"""Audit directories with sealed segments, as Courier leaves them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from courier.audit.chain import encode
from courier.audit.seal import BY_WRITER, FINAL, Checkpoint, checkpoint_fields, stored_fields
from courier.audit.segment import JSON_LINES, PACKINGS, Segment, segment_name, segments
from courier.audit.zstd import zstd

BEGUN: Final = "20261125T093000Z"
AT: Final = "2026-11-25T10:30:00.000Z"


def seal_segment(directory: Path, number: int, content: bytes, previous: str = "", begun: str = BEGUN) -> str:
    """Write a segment with its final seal, and return the hash of that."""
    name = segment_name(number, begun, JSON_LINES)
    (directory / name).write_bytes(content)
    checkpoint = Checkpoint(len(content), content.count(b"\n"), sha256(content).hexdigest(), "", "")
    fields = checkpoint_fields(FINAL, name, number, AT, checkpoint, previous, BY_WRITER)
    line, digest = encode(previous, fields)
    (directory / name).with_suffix(".seal").write_bytes(line)
    return digest


def compress_segment(segment: Segment, final: str) -> None:
    """Replace the plain file of a segment by a compressed one, and add that to its seal, whose last hash is given."""
    assert zstd is not None
    packed = zstd.compress(segment.plain.read_bytes())
    path = segment.plain.with_name(segment.plain.name + PACKINGS[0])
    path.write_bytes(packed)
    fields = stored_fields(path.name, segment.number, AT, len(packed), sha256(packed).hexdigest())
    with segment.seal.open("ab") as seal:
        seal.write(encode(final, fields)[0])
    segment.plain.unlink()


def sealed(directory: Path) -> list[Segment]:
    """Return the segments of a directory that have a seal."""
    return [segment for segment in segments(directory) if segment.seal.exists()]
