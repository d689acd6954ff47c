"""Audit directories with sealed segments, made as the auditor makes them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from courier.audit.chain import Link, read_chain
from courier.audit.seal import BY_WRITER, FINAL, Checkpoint, checkpoint_fields
from courier.audit.sealing import Sealing
from courier.audit.segment import Segment, open_segment, segment_name, segment_of, segments

AT = "2026-11-24T12:00:00.000Z"


def records(chance: random.Random, count: int, day: int = 24) -> bytes:
    """Return lines of records."""
    return b"".join(
        orjson.dumps(
            {
                "time": f"2026-11-{day:02d}T12:{n // 60 % 60:02d}:{n % 60:02d}.000Z",
                "message_id": f"{chance.getrandbits(128):032x}",
                "outcome": "delivered",
                "body": chance.choice(("x" * 300, f"{chance.random()}" * 20, "")),
            },
            None,
            orjson.OPT_APPEND_NEWLINE,
        )
        for n in range(count)
    )


def seal_all(
    directory: Path, contents: Sequence[bytes], *, key: Ed25519PrivateKey | None = None, last: Sequence[str] = ()
) -> list[Segment]:
    """Write plain segments with final seals, numbered from 1. ``last`` are the times of their last records."""
    sealing = Sealing(directory, key)
    previous = ""
    made = []
    for number, content in enumerate(contents, 1):
        segment = segment_of(directory / segment_name(number, f"20261124T1200{number % 60:02d}Z", ".jsonl"))
        assert segment is not None
        segment.path.write_bytes(content)
        time = last[number - 1] if last else AT
        checkpoint = Checkpoint(len(content), content.count(b"\n"), sha256(content).hexdigest(), time, time)
        fields = checkpoint_fields(FINAL, segment.path.name, number, AT, checkpoint, previous, BY_WRITER)
        previous = sealing.append(segment, fields)
        made.append(segment)
    return made


def seal_of(segment: Segment) -> list[Link]:
    """Return the lines of a seal, all of which must fit."""
    chain = read_chain(segment.seal.read_bytes(), None)
    assert chain.fault == ""
    return chain.links


def contents(directory: Path) -> list[bytes]:
    """Return what the segments of a directory contain, oldest first, by the reader that everybody uses."""
    found = []
    for segment in segments(directory):
        with open_segment(segment) as file:
            found.append(file.read())
    return found


def names(directory: Path) -> list[str]:
    """Return the names in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())
