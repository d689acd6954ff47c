"""Audit directories as Courier writes them, for tests of what reads them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from courier.audit.chain import encode
from courier.audit.record import Rejection, recorder, rfc3339
from courier.audit.seal import BY_WRITER, CHECKPOINT, FINAL, Checkpoint, checkpoint_fields, stored_fields
from courier.audit.segment import segment_name
from courier.audit.zstd import zstd
from tests.unit.audit.test_record import MESSAGE

BEGUN = "20261124T123140Z"
AT = 1_795_523_500.0


class Delivery(NamedTuple):
    """What a record is made of."""

    message_id: str = "id-1"
    body: bytes = b"body"
    outcome: str = "delivered"
    status: int | None = 200
    seconds: float = 0.01
    at: float = AT
    group: str = ""
    rejection: Rejection | None = None

    def line(self, form: str = "json", kept: str = "full") -> bytes:
        """Return the record."""
        message = MESSAGE._replace(message_id=self.message_id, body=self.body, group=self.group)
        return recorder(form, kept)(message, self.outcome, self.status, self.seconds, self.at, self.rejection)

    @property
    def time(self) -> str:
        """The time of the record."""
        return rfc3339(int(self.at * 1000))


def event(**fields: Any) -> bytes:
    """Return the line of an event."""
    whole = {"time": rfc3339(int(AT * 1000)), "message_id": "id-1", "receive_count": 1, "outcome": "retry"}
    return orjson.dumps({**whole, **fields}, None, orjson.OPT_APPEND_NEWLINE)


def write(
    directory: Path, number: int, lines: Sequence[bytes], *, form: str = ".jsonl", packing: str = "", begun: str = BEGUN
) -> Path:
    """Write a segment, and return its file."""
    path = directory / (segment_name(number, begun, form) + packing)
    path.write_bytes(packed(b"".join(lines), packing))
    return path


def packed(data: bytes, packing: str) -> bytes:
    """Return the content of a segment's file."""
    if packing == ".zst":
        return bytes(zstd.compress(data))
    return gzip.compress(data) if packing == ".gz" else data


def write_seal(path: Path, lines: Sequence[bytes], checkpoints: Sequence[int] = (), *, final: bool = True) -> Path:
    """Write the seal of a segment of JSON lines, with a checkpoint after each of these numbers of its lines."""
    stem, number = path.name.partition(".")[0], int(path.name.split("-")[1])
    plain = path.name.removesuffix(".zst").removesuffix(".gz")
    before, seal = "", b""
    for kind, count in [*((CHECKPOINT, count) for count in checkpoints), *([(FINAL, len(lines))] if final else [])]:
        data = b"".join(lines[:count])
        times = [orjson.loads(line)["time"] for line in lines[:count]]
        point = Checkpoint(len(data), count, sha256(data).hexdigest(), min(times, default=""), max(times, default=""))
        line, before = encode(before, checkpoint_fields(kind, plain, number, "", point, "", BY_WRITER))
        seal += line
    if path.name != plain:
        stored = path.read_bytes()
        seal += encode(before, stored_fields(path.name, number, "", len(stored), sha256(stored).hexdigest()))[0]
    (path.parent / f"{stem}.seal").write_bytes(seal)
    return path.parent / f"{stem}.seal"
