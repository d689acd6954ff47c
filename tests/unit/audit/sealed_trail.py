"""An audit directory as Courier leaves it, written with the chains alone: segments, seals, ledger and journal."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from courier.audit.chain import encode, read_chain
from courier.audit.seal import BY_WRITER, CHECKPOINT, FINAL, Checkpoint, checkpoint_fields, stored_fields
from courier.audit.segment import segment_name
from courier.audit.trail import JOURNAL, LEDGER
from courier.audit.zstd import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".zst": zstd.compress, ".gz": gzip.compress}


@dataclass
class Written:
    """A segment as it was written: where its checkpoints are, and the hash of its FINAL line, empty without one."""

    number: int
    path: Path
    records: bytes
    offsets: list[int]
    final: str = ""
    seal_lines: list[bytes] = field(default_factory=list)

    @property
    def seal(self) -> Path:
        return self.path.with_name(self.path.name.partition(".")[0] + ".seal")


def record(number: int) -> bytes:
    """Return a record, whose body depends on its number."""
    fields = {
        "time": time_of(number),
        "message_id": f"{number:08x}",
        "outcome": "delivered",
        "body": "x" * (number % 97),
    }
    return orjson.dumps(fields, None, orjson.OPT_APPEND_NEWLINE)


def time_of(number: int) -> str:
    return f"2026-11-25T09:{number // 60 % 60:02d}:{number % 60:02d}.000Z"


def write_segment(
    directory: Path,
    number: int,
    groups: Sequence[int],
    previous: str = "",
    *,
    key: Ed25519PrivateKey | None = None,
    packing: str = "",
    tail: bytes = b"",
    ended: bool = True,
) -> Written:
    """Write a segment with a checkpoint after each group of so many records, the last one FINAL if it has ``ended``."""
    path = directory / segment_name(number, f"20261125T09{number % 60:02d}00Z", ".jsonl")
    records, offsets, lines, before, count, first = b"", [], [], previous, 0, ""
    for index, group in enumerate(groups):
        new = [record(1000 * number + count + one) for one in range(group)]
        records += b"".join(new)
        first = first or time_of(1000 * number)
        count += group
        kind = FINAL if ended and index == len(groups) - 1 else CHECKPOINT
        at = Checkpoint(len(records), count, sha256(records).hexdigest(), first, time_of(1000 * number + count))
        fields = checkpoint_fields(kind, path.name, number, time_of(number), at, previous, BY_WRITER)
        line, before = encode(before, fields, key)
        lines.append(line)
        offsets.append(len(records))
    written = Written(number, path, records + tail, offsets, before if ended else "", lines)
    path.write_bytes(records + tail)
    written.seal.write_bytes(b"".join(lines))
    if packing:
        pack(written, packing, key)
    return written


def pack(written: Written, packing: str, key: Ed25519PrivateKey | None = None) -> None:
    """Compress a segment and seal what it became."""
    packed = PACK[packing](written.path.read_bytes())
    path = written.path.with_name(written.path.name + packing)
    path.write_bytes(packed)
    stored = stored_fields(path.name, written.number, time_of(9), len(packed), sha256(packed).hexdigest())
    append(written.seal, stored, key, None)
    written.path.unlink()
    written.path = path


def append(
    path: Path, fields: Mapping[str, object], key: Ed25519PrivateKey | None, begins_with: str | None = ""
) -> None:
    """Append a line to a chain."""
    before = path.read_bytes() if path.exists() else b""
    links = read_chain(before, begins_with).links
    path.write_bytes(before + encode(links[-1].hash if links else "", fields, key)[0])


def write_trail(
    directory: Path,
    number: int,
    *,
    key: Ed25519PrivateKey | None = None,
    packings: Sequence[str] = ("",),
    groups: Sequence[int] = (7, 5, 9),
    begin: int = 1,
    running: bool = True,
) -> list[Written]:
    """Write so many segments. The newest is still written if ``running``: plain, without a FINAL line."""
    written: list[Written] = []
    for index in range(number):
        is_newest = running and index == number - 1
        written.append(
            write_segment(
                directory,
                begin + index,
                groups,
                written[-1].final if written else "",
                key=key,
                packing="" if is_newest else packings[index % len(packings)],
                ended=not is_newest,
            )
        )
    return written


def retain(directory: Path, written: Written, key: Ed25519PrivateKey | None = None, unlink: int = 2) -> None:
    """Remove a segment as retention does: first the line of the ledger, then the segment, then its seal.

    ``unlink`` is how many of the two files it came to before it was killed.
    """
    name = written.path.name
    fields = {"ledger": "removed", "segment": written.number, "file": name, "final": written.final, "at": time_of(0)}
    append(directory / LEDGER, fields, key)
    for path in (written.path, written.seal)[:unlink]:
        path.unlink()


def archive(directory: Path, written: Written, key: Ed25519PrivateKey | None = None) -> None:
    """Write the line of the journal which says that a segment is in the archive."""
    data = written.path.read_bytes()
    fields = {
        "archive": "stored",
        "segment": written.number,
        "file": written.path.name,
        "key": f"prefix/2026/11/25/{written.path.name}",
        "bytes": len(data),
        "sha256": sha256(data).hexdigest(),
        "final": written.final,
        "at": time_of(0),
    }
    if not (directory / JOURNAL).exists():
        append(directory / JOURNAL, {"archive": "begun", "id": "0" * 32, "to": "s3://b/prefix", "at": time_of(0)}, key)
    append(directory / JOURNAL, fields, key)
