"""``--audit-archive`` under an S3 that fails: what was deleted from the queue is in the log or in the archive."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from courier.audit.segment import FILE_NAME
from courier.audit.zstd import zstd
from tests.faulty_s3 import CUT, FAIL, FAULTS, LOSE, PASS, STALL, FaultyS3, faulty_s3
from tests.process.conftest import Start
from tests.process.test_api import Api
from tests.process.world import Courier, Queue, Recipient, bodies, children, kill, missing, until

SMALL = ("--audit-max-bytes", "4096", "--audit-keep-bytes", "16384")
"""A file holds a dozen records, so that there are many, and the disk few of them."""


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    with faulty_s3() as server:
        yield server


def into(s3: FaultyS3, *options: str, bucket: str = "archive") -> list[str]:
    place = ("--audit-archive", f"s3://{bucket}/host-1", "--audit-archive-endpoint-url", s3.url)
    return [*place, *options]


def archived(s3: FaultyS3) -> Counter[str]:
    """Count the records in the archive by message id."""
    found: Counter[str] = Counter()
    for key, content in s3.contents().items():
        if FILE_NAME.fullmatch(Path(key).name):
            if key.endswith(".zst"):
                assert zstd is not None
                content = zstd.decompress(content)
            found.update(orjson.loads(line)["message_id"] for line in content.splitlines())
    return found


def kept(courier: Courier, s3: FaultyS3) -> set[str]:
    """Return the ids of the messages whose records are in the log or the archive."""
    # In this order: a file goes from the log only once it is in the archive.
    log = set(courier.recorded())
    return log | set(archived(s3))


def at_random(seed: int, share: float) -> Any:
    chance = random.Random(seed)
    return lambda _method, _path: chance.choice((*FAULTS, CUT, LOSE)) if chance.random() < share else PASS


def uploaders(courier: Courier) -> list[int]:
    return [
        child
        for auditor in courier.pids("auditor")
        for child in children(auditor)
        if b"archive_child" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_everything_is_archived_though_the_archive_fails_again_and_again(
    s3: FaultyS3, queue: Queue, recipient: Recipient, start: Start
) -> None:
    s3.choose = at_random(1, 0.1)
    sent = queue.send(bodies(300))
    courier = start(queue, *into(s3, *SMALL))
    until(lambda: queue.counts() == (0, 0), 90, courier.log)
    assert not missing(sent, kept(courier, s3))
    s3.choose = lambda *_: PASS
    assert courier.drain() == 0
    # The last file too, and whatever waited.
    assert archived(s3) == Counter(recipient.accepted)
    assert {key.rpartition("/")[2] for key in s3.overwritten} <= {"courier.archive", "courier.ledger"}
    assert (courier.audit / "courier.archive").read_bytes() == s3.contents()["host-1/courier.archive"]


def test_a_full_disk_of_waiting_files_pauses_intake_and_the_archive_releases_it(
    s3: FaultyS3, queue: Queue, recipient: Recipient, start: Start, free_port: int
) -> None:
    s3.choose = lambda *_: FAIL
    sent = queue.send(bodies(100))
    courier = start(queue, *into(s3, *SMALL, "--audit-compress", "none"), COURIER_API=f"127.0.0.1:{free_port}")
    api = Api(courier)
    until(lambda: any("audit waits for the archive" in reason for reason in api.reasons()), 60, courier.log)
    status = orjson.loads(api.get("/status")[1])
    assert status["archive"]["state"] == "full"
    assert status["archive"]["waiting_bytes"] > 0
    assert api.metrics()["courier_archive_full"] == 1
    sent += queue.send(bodies(200))
    time.sleep(1.0)
    assert queue.counts() != (0, 0), "intake goes on"
    s3.choose = lambda *_: PASS
    until(lambda: queue.counts() == (0, 0), 120, courier.log)
    until(lambda: api.ready() == (200, {"ready": True}), 60, courier.log)
    until(lambda: sum(path.stat().st_size for path in courier.audit.glob("courier-*.jsonl")) <= 16384, 60, courier.log)
    assert not missing(sent, kept(courier, s3))
    assert "intake pauses: audit records that wait for the archive fill --audit-keep-bytes" in courier.log()
    assert courier.drain() == 0
    assert archived(s3) == Counter(recipient.accepted)


def test_best_effort_goes_on_beyond_the_bytes_to_keep(
    s3: FaultyS3, queue: Queue, recipient: Recipient, start: Start
) -> None:
    s3.choose = lambda *_: FAIL
    sent = queue.send(bodies(300))
    courier = start(queue, *into(s3, *SMALL, "--audit-policy", "best-effort", "--audit-compress", "none"))
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert not missing(sent, courier.recorded())
    assert courier.drain() == 0


def test_an_archive_that_never_answers_delays_no_drain_beyond_its_limit(
    s3: FaultyS3, queue: Queue, recipient: Recipient, start: Start
) -> None:
    s3.choose = lambda method, _: STALL if method != "HEAD" else PASS
    sent = queue.send(bodies(100))
    courier = start(queue, *into(s3, "--drain-timeout", "5"))
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    began = time.monotonic()
    assert courier.drain() == 0
    # The limit, and what a busy machine takes to end processes.
    assert time.monotonic() - began < 5 + 10
    assert not missing(sent, courier.recorded())
    s3.choose = lambda *_: PASS
    again = start(queue, *into(s3))
    until(lambda: set(archived(s3)) == set(sent), 60, again.log)
    assert again.drain() == 0


def test_an_archive_that_is_unreachable_at_the_start_is_a_warning(queue: Queue, start: Start) -> None:
    sent = queue.send(bodies(20))
    options = ("--audit-archive", "s3://archive/host-1", "--audit-archive-endpoint-url", "http://127.0.0.1:9")
    courier = start(queue, *options)
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert "the archive was not checked" in courier.log()
    assert not missing(sent, courier.recorded())
    assert courier.drain() == 0


def test_a_bucket_that_does_not_exist_ends_the_start(s3: FaultyS3, queue: Queue, start: Start) -> None:
    courier = start(queue, *into(s3, bucket="nowhere"), ready=False)
    assert courier.wait(60) == 3
    assert "the bucket does not exist" in courier.log()
    assert "Traceback" not in courier.log()


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(2, 11))])
def test_kills_of_the_auditor_and_of_the_uploads_lose_nothing(
    s3: FaultyS3, queue: Queue, recipient: Recipient, start: Start, seed: int
) -> None:
    chance = random.Random(seed)
    s3.choose = at_random(seed, 0.05)
    sent = queue.send(bodies(500))
    courier = start(queue, *into(s3, *SMALL, "--visibility-timeout", "3"))
    for _ in range(6):
        for pid in chance.choice((courier.pids("auditor"), uploaders(courier))):
            kill(pid, signal.SIGKILL)
        time.sleep(chance.random())
    until(lambda: queue.counts() == (0, 0), 120, courier.log)
    assert not missing(sent, kept(courier, s3))
    s3.choose = lambda *_: PASS
    assert courier.drain() == 0
    again = start(queue, *into(s3, *SMALL))
    until(lambda: not missing(sent, archived(s3)), 90, again.log)
    assert again.drain() == 0
    assert {key.rpartition("/")[2] for key in s3.overwritten} <= {"courier.archive", "courier.ledger"}
