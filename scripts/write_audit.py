"""Writes a large audit directory, as Courier would, to measure the commands that read it.

    python scripts/write_audit.py DIRECTORY 5GiB

Every other segment is compressed, the newest one isn't. Each of them has its seal. One delivery in a hundred fails in
some way, and one body in a thousand isn't UTF-8.
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path
from typing import Final

from courier.audit.chain import encode
from courier.audit.record import Rejection, record_line, rfc3339
from courier.audit.seal import BY_WRITER, CHECKPOINT, FINAL, Checkpoint, checkpoint_fields, stored_fields
from courier.audit.segment import JSON_LINES, segment_name
from courier.audit.zstd import zstd
from courier.config.units import parse_size
from courier.message import Message

SEGMENT_BYTES: Final = 256 * 1024**2
BEGIN_MS: Final = 1_795_478_400_000
"""2026-11-24T00:00:00Z."""

A_SECOND: Final = 2000
"""Records."""

BODIES: Final = 50_000

_MESSAGE: Final = Message("", "", 0.0, 0.0, 1, 0, 0, "", "", "", (), b"")
_CITIES: Final = ("Aalborg", "Bergen", "Çanakkale", "Düsseldorf", "Évora", "Florence", "Gdańsk", "Helsinki")


def bodies(dice: random.Random) -> list[bytes]:
    """Return what follows the number in the bodies of orders: so many that compression finds none twice."""
    return [
        (
            f',"customer":"{dice.getrandbits(64):016x}","city":"{dice.choice(_CITIES)}",'
            f'"items":[{",".join(str(dice.randrange(10**6)) for _ in range(20))}],"note":"leave at the door, please"}}'
        ).encode()
        for _ in range(BODIES)
    ]


def record(number: int, dice: random.Random, pool: list[bytes]) -> bytes:
    """Return the record of the delivery of this number."""
    at = BEGIN_MS / 1000 + number / A_SECOND
    lot = dice.getrandbits(128)
    body = b'{"order":%d' % number + pool[lot % BODIES]
    if number % 1000 == 7:
        body += b"\xff"
    name = f"{lot:032x}"
    message = _MESSAGE._replace(
        message_id=f"{name[:8]}-{name[8:12]}-4{name[13:16]}-a{name[17:20]}-{name[20:]}",
        receive_count=1 + (number % 50 == 0),
        sent_ms=int(at * 1000) - lot % 900,
        group=f"customer-{lot % 1_000_003}" if number % 4 == 0 else "",
        body=body,
    )
    took = dice.expovariate(1 / 0.02)
    if number % 200 == 0:
        rejection = Rejection("status 422", "orders", "unknown article")
        return record_line(message, "rejected: status 422", 422, took, at, rejection)
    return record_line(message, "delivered", 200 if number % 10 else 202, took, at)


def write(directory: Path, total: int) -> None:
    """Write segments with this number of bytes in all, counted as plain ones."""
    directory.mkdir(parents=True)
    dice, number, records, previous = random.Random(14), 0, 0, ""
    pool = bodies(dice)
    while total > 0:
        number += 1
        begun = rfc3339(BEGIN_MS + records * 1000 // A_SECOND)
        name = segment_name(number, begun[:19].replace("-", "").replace(":", "") + "Z", JSON_LINES)
        path, size, count, sha = directory / name, 0, 0, hashlib.sha256()
        first, seal, before = begun, b"", previous
        with path.open("wb") as file:
            while size < min(SEGMENT_BYTES, total):
                block = b"".join(record(records + each, dice, pool) for each in range(A_SECOND * 15))
                records, count, size = records + A_SECOND * 15, count + A_SECOND * 15, size + len(block)
                file.write(block)
                sha.update(block)
                last = rfc3339(BEGIN_MS + (records - 1) * 1000 // A_SECOND)
                point = Checkpoint(size, count, sha.hexdigest(), first, last)
                fields = checkpoint_fields(CHECKPOINT, name, number, last, point, previous, BY_WRITER)
                line, before = encode(before, fields)
                seal += line
        line, before = encode(before, checkpoint_fields(FINAL, name, number, last, point, previous, BY_WRITER))
        seal, previous, total = seal + line, before, total - size
        if number % 2 and total > 0:
            packed = zstd.compress(path.read_bytes())
            path.with_name(f"{name}.zst").write_bytes(packed)
            digest = hashlib.sha256(packed).hexdigest()
            seal += encode(before, stored_fields(f"{name}.zst", number, last, len(packed), digest))[0]
            path.unlink()
        path.with_name(f"{path.stem}.seal").write_bytes(seal)
        print(f"{records:,} records in {number} segments", file=sys.stderr)


if __name__ == "__main__":
    size = parse_size(sys.argv[2]) if len(sys.argv) == 3 else None
    if size is None:
        raise SystemExit("usage: write_audit.py DIRECTORY SIZE, such as 5GiB")
    write(Path(sys.argv[1]), size)
