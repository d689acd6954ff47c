"""Compression and retention in a running Courier: they keep to their limits, and to what may be removed."""

from __future__ import annotations

import signal

import pytest

from courier.audit.retention_plan import measure
from courier.audit.segment import segments
from courier.audit.trail import DirectoryTrail
from courier.audit.verify import verify
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, bodies, children, kill, missing, until

KEEP_BYTES = 60_000


def verified(courier: Courier) -> int:
    """Return how many records are vouched for; nothing may look like tampering."""
    report = verify(DirectoryTrail(courier.audit), [])
    assert report.evidence == [], courier.log()[-4000:]
    return report.vouched.records


@pytest.mark.parametrize(("option", "packing"), [("zstd", ".zst"), ("gzip", ".gz")])
def test_finished_files_are_compressed_while_messages_come(
    queue: Queue, recipient: Recipient, start: Start, option: str, packing: str
) -> None:
    courier = start(queue, "--audit-max-bytes", "30000", "--audit-compress", option)
    sent = queue.send(bodies(600))
    until(lambda: not missing(sent, recipient.accepted) and queue.counts() == (0, 0), 60.0, courier.log)

    def is_compressed() -> bool:
        found = segments(courier.audit)
        return len(found) > 3 and [each.packing for each in found] == [packing] * (len(found) - 1) + [""]

    until(is_compressed, 60.0, courier.log)
    assert courier.drain() == 0
    assert verified(courier) == len(sent)
    assert set(courier.recorded()) == set(sent)


def test_the_files_stay_within_the_size_and_the_records_that_are_left_are_vouched_for(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--audit-max-bytes", "8192", "--audit-keep-bytes", str(KEEP_BYTES))
    for _ in range(5):
        sent = queue.send(bodies(300))
        until(lambda: not missing(sent, recipient.accepted) and queue.counts() == (0, 0), 60.0, courier.log)  # noqa: B023
    until(lambda: measure(courier.audit).bytes <= KEEP_BYTES, 60.0, courier.log)
    until(lambda: "removed an old audit file" in courier.log(), 60.0, courier.log)
    assert courier.drain() == 0
    assert 0 < verified(courier) < 1500
    assert segments(courier.audit)[0].number > 1


def test_by_age_all_goes_but_the_file_that_is_written_to(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--audit-max-bytes", "8192", "--audit-keep", "1")
    sent = queue.send(bodies(300))
    until(lambda: not missing(sent, recipient.accepted) and queue.counts() == (0, 0), 60.0, courier.log)
    until(lambda: len(segments(courier.audit)) == 1, 60.0, courier.log)
    assert courier.drain() == 0
    verified(courier)


def test_a_child_that_is_killed_costs_no_message_and_no_record(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--audit-max-bytes", "8192")
    sent = queue.send(bodies(900))
    killed = 0

    def kill_a_child() -> bool:
        nonlocal killed
        for pid in [child for auditor in courier.pids("auditor") for child in children(auditor)]:
            kill(pid, signal.SIGKILL)
            killed += 1
        # One that is killed as it ends has done its work, and nothing is said of it.
        is_said = killed > 0 and "cannot compress an audit file" in courier.log()
        return is_said and not missing(sent, recipient.accepted) and queue.counts() == (0, 0)

    until(kill_a_child, 60.0, courier.log)
    assert courier.drain() == 0
    assert verified(courier) == len(sent)
