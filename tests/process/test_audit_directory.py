"""An audit directory that somebody removes, moves or replaces while records come: nothing is deleted unrecorded."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from courier.audit.reader import read_records
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, bodies, missing, until


def newest(audit: Path) -> Path:
    return max(audit.glob("courier-*.jsonl"))


def remove(audit: Path) -> None:
    """Remove it as rm -rf does, which goes on with what comes meanwhile."""
    while audit.exists():
        shutil.rmtree(audit, ignore_errors=True)
        if (audit / "LOCK").exists() and len(list(audit.iterdir())) <= 2:
            return


def rename_file(audit: Path) -> None:
    newest(audit).rename(audit / "rotated")


def remove_file(audit: Path) -> None:
    newest(audit).unlink()


def remove_lock(audit: Path) -> None:
    (audit / "LOCK").unlink()


def recorded(courier: Courier) -> Counter[str]:
    rotated = courier.audit / "rotated"
    found = courier.recorded()
    if rotated.exists():
        rotated.rename(courier.audit / "courier-19990101T000000.000Z-000001.jsonl")
        found = Counter(record.message_id for record in read_records(courier.audit))
    return found


@pytest.mark.parametrize("act", [remove, rename_file, remove_file, remove_lock])
def test_records_go_on_whatever_is_removed_or_renamed_and_the_lock_is_held(
    queue: Queue, recipient: Recipient, start: Start, act: Callable[[Path], None]
) -> None:
    recipient.behave = after(0.01)
    courier = start(queue, "--wait-time", "1", "--drain-timeout", "15")
    before = queue.send(bodies(300))
    until(lambda: len(recipient.accepted) > 100 and courier.recorded(), explain=courier.log)
    act(courier.audit)
    # What was recorded before may be gone with the file; what is delivered from now on is not.
    delivered = set(recipient.accepted)
    sent = queue.send(bodies(700))
    until(lambda: not missing([*before, *sent], recipient.accepted), 30, courier.log)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    until((courier.audit / "LOCK").exists, 10, courier.log)
    other = Courier(queue.name, recipient.url, courier.audit.parent, "--drain-timeout", "1", endpoint=queue.endpoint)
    assert other.wait(30) == 3
    assert f"in use by process {courier.pids('auditor')[0]}" in other.log()
    assert courier.drain() == 0, courier.log()
    kept = recorded(courier)
    assert not missing(sent, kept)
    if act in (rename_file, remove_lock):
        assert not missing([*before, *delivered], kept)
    assert "worker died" not in courier.log()


def test_a_directory_that_became_a_file_stops_receiving_until_it_is_gone(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--wait-time", "1", "--drain-timeout", "15")
    before = queue.send(bodies(20))
    until(lambda: len(courier.recorded()) == 20, explain=courier.log)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    shutil.rmtree(courier.audit)
    courier.audit.touch()
    until(lambda: "audit log failing" in courier.log(), 20, courier.log)
    assert "give --audit-path a directory" in courier.log()
    sent = queue.send(bodies(20))
    courier.audit.unlink()
    until(lambda: not missing([*before, *sent], recipient.accepted), 30, courier.log)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0, courier.log()
    assert not missing(sent, courier.recorded())
