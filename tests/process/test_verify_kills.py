"""``courier audit verify`` beside a Courier that is killed again and again: it never accuses anybody."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from courier.audit.trail import DirectoryTrail
from courier.audit.verdicts import Report
from courier.audit.verify import verify
from courier.config.config import OPTIONS
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, bodies, children, kill, missing, until

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MESSAGES = 150
"""Messages sent before each kill, which are some ten segments."""


def options(directory: Path, chance: random.Random) -> list[str]:
    """Return options with which segments are sealed, compressed and removed all the time."""
    key = directory / "key.pem"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    wanted = {
        "--audit-max-bytes": str(chance.choice([4096, 8192, 20_000])),
        "--audit-sign-key": str(key),
        "--audit-compress": chance.choice(["zstd", "gzip", "none"]),
        "--audit-keep-bytes": str(chance.choice([100_000, 1_000_000])),
    }
    there = {option.flag for option in OPTIONS.values()}
    return [word for flag, value in wanted.items() if flag in there for word in (flag, value)]


def keys() -> list[Ed25519PrivateKey]:
    return [KEY] if "--audit-sign-key" in {option.flag for option in OPTIONS.values()} else []


def check(audit: Path, explain: str) -> Report:
    """Verify the directory as it is now: a successor may be at work there."""
    report = verify(DirectoryTrail(audit), [key.public_key() for key in keys()])
    assert report.evidence == [], explain
    return report


def victims(courier: Courier, chance: random.Random) -> list[int]:
    """Return the processes to kill: the auditor, a child of its, or all of them from the top down."""
    auditors = courier.pids("auditor")
    which = chance.choice(["auditor", "child", "everything"])
    if which == "child" and (found := [child for pid in auditors for child in children(pid)]):
        return found
    if which == "everything":
        return [courier.pid, *children(courier.pid), *(child for pid in auditors for child in children(pid))]
    return auditors


def kill_and_verify(queue: Queue, recipient: Recipient, start: Start, directory: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    recipient.behave = after(0.002)
    sent: list[str] = []
    courier: Courier | None = None
    for _ in range(kills):
        if courier is None or courier.process.poll() is not None:
            courier = start(queue, "--visibility-timeout", "4", *options(directory, chance))
        before = len(recipient.accepted)
        sent += queue.send(bodies(MESSAGES))
        goal = before + chance.randrange(MESSAGES)
        running = courier
        until(lambda: len(recipient.accepted) >= goal and running.pids("auditor"), 60.0, courier.log)  # noqa: B023
        killed = victims(courier, chance)
        for pid in killed:
            kill(pid, signal.SIGKILL)
        if courier.pid in killed:
            courier.wait(10.0)
        if courier.audit.exists():
            check(courier.audit, courier.log()[-4000:])
    assert courier is not None
    if courier.process.poll() is not None:
        courier = start(queue, "--visibility-timeout", "4", *options(directory, chance))
    until(lambda: queue.counts() == (0, 0), 60.0, courier.log)
    assert courier.drain() == 0
    assert check(courier.audit, courier.log()[-4000:]).vouched.records > 0
    assert not missing(sent, recipient.accepted)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_directory_written_under_kills_is_never_accused(
    queue: Queue, recipient: Recipient, start: Start, tmp_path: Path, seed: int
) -> None:
    kill_and_verify(queue, recipient, start, tmp_path, 10, seed)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10, 20))
def test_a_directory_written_under_two_hundred_kills_is_never_accused(
    queue: Queue, recipient: Recipient, start: Start, tmp_path: Path, seed: int
) -> None:
    kill_and_verify(queue, recipient, start, tmp_path, 20, seed)
