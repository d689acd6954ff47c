"""The seals of a running Courier: signed, sound after kills of everything, and no reason to wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from courier.audit.public_key import read_public_key
from courier.audit.sign_key import make_key, public_path
from courier.audit.trail import DirectoryTrail
from courier.audit.verify import verify
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, bodies, until


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key")
    return tmp_path / "key"


def killed(courier: Courier) -> None:
    courier.kill()


def without_its_auditor(courier: Courier) -> None:
    [pid] = courier.pids("auditor")
    os.kill(pid, signal.SIGKILL)
    until(lambda: courier.pids("auditor") not in ([pid], []))
    assert courier.drain() == 0


def drained(courier: Courier) -> None:
    assert courier.drain() == 0


def test_signed_seals_stay_sound_over_kills_of_everything_and_the_next_start_seals_the_rest(
    queue: Queue, start: Start, key: Path
) -> None:
    keys = [read_public_key(public_path(key))]
    trail = DirectoryTrail(key.parent / "audit")

    def run(end: Callable[[Courier], None], records: int) -> None:
        courier = start(queue, "--audit-sign-key", str(key), "--audit-max-bytes", "4096")
        queue.send(bodies(40))
        until(lambda: len(courier.recorded()) >= records, explain=courier.log)
        end(courier)
        assert verify(trail, keys).evidence == []

    for round_, end in enumerate((killed, without_its_auditor, drained), 1):
        run(end, 40 * round_)
    courier = start(queue, "--audit-sign-key", str(key))
    until(lambda: not verify(trail, keys).doubts, explain=courier.log)
    report = verify(trail, keys)
    assert report.vouched.records >= 120
    assert report.signed[0] > 0


def test_a_key_that_everybody_can_read_stops_the_start_in_one_line(queue: Queue, start: Start, key: Path) -> None:
    key.chmod(0o604)
    courier = start(queue, "--audit-sign-key", str(key), ready=False)
    assert courier.wait(30) == 3
    [line] = [line for line in courier.log().splitlines() if "--audit-sign-key" in line]
    assert "chmod o-rwx" in line
