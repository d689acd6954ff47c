"""The speed of the audit commands on a large directory, beside what others have for the same files.

``python -m scripts.bench.audit_commands DIRECTORY --gib 5`` makes ``DIRECTORY/plain`` and ``DIRECTORY/packed`` if they
aren't there, runs each command once, and prints the table of docs/audit.md. Times are those of the processor, of a
command and its children: a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from courier.audit.files import AuditFiles
from courier.audit.record import record_line
from courier.message import Message

GIB: Final = 2**30
SEGMENT_BYTES: Final = 256 * 1024**2
BATCH: Final = 4096
BEGIN: Final = 1_764_000_000.0
"""The time of the first record."""

PER_SECOND: Final = 1000
NEEDLE: Final = "order 1234567 of"
"""In the body of one record."""

COURIER: Final = f"{shlex.quote(sys.executable)} -m courier audit"


class Timed(NamedTuple):
    """A command as the table shows it, what it ran on, the seconds of the processor, and its first line."""

    shown: str
    bytes: int
    seconds: float
    said: str


def make(directory: Path, size: int) -> None:
    """Write segments of records with random bodies of words until they have so many bytes; compress copies of them."""
    plain, packed = directory / "plain", directory / "packed"
    if packed.exists():
        return
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(2000)]
    texts = [" ".join(chance.choices(words, k=15)) for _ in range(10_000)]
    files = AuditFiles(plain, SEGMENT_BYTES, 1e9)
    files.open_at_once(lambda: None)
    written = number = 0
    while written < size:
        lines = [_record(number + n, chance, texts) for n in range(BATCH)]
        files.append(lines)
        number += BATCH
        written += sum(map(len, lines))
    files.close()
    shutil.copytree(plain, packed)
    subprocess.run(["zstd", "-q", "-3", "--rm", *map(str, packed.glob("courier-*.jsonl"))], check=True)


def _record(number: int, chance: random.Random, texts: Sequence[str]) -> bytes:
    sent = BEGIN + number / PER_SECOND
    body = f"order {number} of {chance.choice(texts)}".encode()
    name = f"{chance.getrandbits(128):032x}"
    message = Message(name, "", 0.0, 0.0, 1, int(sent * 1000), 0, "", "", "", (), body)
    return record_line(message, "delivered", 200, chance.random() / 10, sent + chance.random())


def timed(shown: str, command: str, size: int) -> Timed:
    """Run a command in a shell; return what it cost."""
    began = os.times()
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    ended = os.times()
    seconds = ended.children_user - began.children_user + ended.children_system - began.children_system
    return Timed(shown, size, seconds, (result.stdout or result.stderr).partition("\n")[0][:60])


def commands(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield each command as it is shown and as it is run: for plain files, then for compressed ones."""
    plain, packed = shlex.quote(str(directory / "plain")), shlex.quote(str(directory / "packed"))
    yield "courier audit verify plain", f"{COURIER} verify {plain}"
    yield "sha256sum plain/*.jsonl", f"sha256sum {plain}/*.jsonl"
    yield f"courier audit grep -c '{NEEDLE}' plain", f"{COURIER} grep -c '{NEEDLE}' {plain}"
    yield f"grep -c '{NEEDLE}' plain/*.jsonl", f"cat {plain}/*.jsonl | LC_ALL=C.UTF-8 grep -c '{NEEDLE}'"
    yield "courier audit grep -c --slower 99ms plain", f"{COURIER} grep -c --slower 99ms {plain}"
    first = shlex.quote(str(min((directory / "plain").glob("courier-*.jsonl"))))
    yield "jq -c 'select(.duration_ms >= 99)', the first segment", f"jq -c 'select(.duration_ms >= 99)' {first} | wc -l"
    yield f"courier audit grep -c -S {_late()} plain", f"{COURIER} grep -c -S {_late()} {plain}"
    yield "courier audit stats plain", f"{COURIER} stats {plain}"
    yield "courier audit export --to csv plain", f"{COURIER} export --to csv {plain} > /dev/null"
    send = "--recipient-url http://127.0.0.1:1/"
    yield f"courier audit replay plain {send}", f"{COURIER} replay {plain} {send}"
    yield "courier audit verify packed", f"{COURIER} verify {packed}"
    yield f"courier audit grep -c '{NEEDLE}' packed", f"{COURIER} grep -c '{NEEDLE}' {packed}"
    yield f"zstdgrep '{NEEDLE}' packed/*.zst", f"zstdgrep -c '{NEEDLE}' {packed}/*.zst"
    yield "courier audit stats packed", f"{COURIER} stats {packed}"


def _late() -> str:
    return "2025-11-24T18:00Z"


def size_of(directory: Path, shown: str) -> int:
    """Return the bytes of the plain records that a command reads."""
    sizes = [path.stat().st_size for path in sorted((directory / "plain").glob("courier-*.jsonl"))]
    return sizes[0] if shown.endswith("the first segment") else sum(sizes)


def main() -> None:
    """Make the directory, run the commands, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gib", type=float, default=5.0)
    given = parser.parse_args()
    began = time.monotonic()
    make(given.directory, int(given.gib * GIB))
    print(f"made or found in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print("| command | CPU s | MB a second of CPU |\n|---|---|---|")
    for shown, command in commands(given.directory):
        size = size_of(given.directory, shown)
        result = timed(shown, command, size)
        print(
            f"| `{result.shown}` | {result.seconds:.1f} | {size / 1e6 / max(0.01, result.seconds):,.0f} |", flush=True
        )
        print(f"  {result.said}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
