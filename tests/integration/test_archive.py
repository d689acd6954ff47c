from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from courier.audit.archive import COMPRESSION_SECONDS, Archive, ArchiveOptions
from courier.audit.archive_place import ArchiveSettings
from courier.audit.archive_process import ArchiveProcess
from courier.audit.archive_standing import Observer, Standing
from courier.audit.chain import read_chain_file
from courier.audit.sealing import JOURNAL_NAME, LEDGER_NAME, Sealing
from tests.faulty_s3 import CUT, FAIL, FAULTS, LOSE, PASS, STALL, FaultyS3, kept
from tests.integration.sqs_endpoints import REGION
from tests.sealed_segments import BEGUN, compress_segment, seal_segment, sealed
from tests.unit.audit.faulty_os import faulty_os

DATE: Final = "host-1/2026/11/25/"


class Stage:
    """An archive chore of a directory, and what it said."""

    def __init__(self, directory: Path, s3: FaultyS3, prefix: str = "host-1", **options: Any) -> None:
        self.directory = directory
        self.s3 = s3
        self.standing = Standing()
        self.stored: list[int] = []
        self.failures = 0
        self.skipped = 0.0
        settings = ArchiveSettings(f"s3://{s3.bucket}/{prefix}", REGION, s3.url, directory)
        self.process = ArchiveProcess(settings, self.clock)
        observer = Observer(self._stand, self.stored.append, self._fail)
        self.archive = Archive(
            Sealing(directory),
            ArchiveOptions(settings, **options),
            observer,
            process=self.process,
            clock=self.clock,
            draw=lambda: 0.0,
        )

    def clock(self) -> float:
        return time.monotonic() + self.skipped

    def _stand(self, standing: Standing) -> None:
        self.standing = standing

    def _fail(self) -> None:
        self.failures += 1

    def step(self) -> float:
        return self.archive.step(sealed(self.directory))

    def step_until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.standing, self.failures, self.s3.seen[-20:])
            time.sleep(min(self.step(), 0.02))

    def settle(self) -> None:
        """Step until there is nothing more to do."""
        self.step_until(lambda: self.step() == float("inf") and not self.process.is_busy)

    def journal(self) -> list[dict[str, Any]]:
        chain = read_chain_file(self.directory / JOURNAL_NAME)
        assert not chain.fault
        return [dict(link.fields) for link in chain.links]


pytestmark = pytest.mark.usefixtures("s3_keys")


@pytest.fixture
def stages() -> Iterator[list[Stage]]:
    made: list[Stage] = []
    yield made
    for stage in made:
        stage.process.end()


@pytest.fixture
def stage(tmp_path: Path, s3: FaultyS3, stages: list[Stage]) -> Stage:
    stages.append(Stage(tmp_path, s3))
    return stages[0]


def test_each_sealed_segment_is_archived_with_its_seal_and_journaled(stage: Stage) -> None:
    contents = [b'{"a":1}\n', b"x" * 100_000 + b"\n", b""]
    final = ""
    finals = []
    for number, content in enumerate(contents, 1):
        final = seal_segment(stage.directory, number, content, final)
        finals.append(final)
    compress_segment(sealed(stage.directory)[0], finals[0])
    stage.settle()
    segments = sealed(stage.directory)
    assert all(map(stage.archive.has, segments))
    local = {f"{DATE}{path.name}": path.read_bytes() for each in segments for path in (each.path, each.seal)}
    journal_key = f"host-1/{JOURNAL_NAME}"
    assert stage.s3.contents() == {**local, journal_key: (stage.directory / JOURNAL_NAME).read_bytes()}
    begun, *stored = stage.journal()
    assert begun["archive"] == "begun"
    assert (begun["to"], len(begun["id"])) == ("s3://archive/host-1", 32)
    for line, segment, final in zip(stored, segments, finals, strict=True):
        content = segment.path.read_bytes()
        assert line == {
            "archive": "stored",
            "segment": segment.number,
            "file": segment.path.name,
            "key": f"{DATE}{segment.path.name}",
            "bytes": len(content),
            "sha256": sha256(content).hexdigest(),
            "final": final,
            "at": line["at"],
        }
    assert stage.standing == Standing()
    assert stage.stored == [line["bytes"] for line in stored]
    assert stage.process.pid is None, "a process stays although there is nothing to do"


def test_the_ledger_goes_along(stage: Stage) -> None:
    seal_segment(stage.directory, 1, b"one\n")
    stage.settle()
    Sealing(stage.directory).chain(LEDGER_NAME).append({"ledger": "removed", "segment": 0})
    stage.settle()
    assert stage.s3.contents()[f"host-1/{LEDGER_NAME}"] == (stage.directory / LEDGER_NAME).read_bytes()


def test_a_restart_archives_only_what_the_journal_lacks(
    stage: Stage, stages: list[Stage], tmp_path: Path, s3: FaultyS3
) -> None:
    final = seal_segment(tmp_path, 1, b"one\n")
    stage.settle()
    requests = len(s3.seen)
    stages.append(Stage(tmp_path, s3))
    stages[-1].settle()
    assert not [path for _, path in s3.seen[requests:] if "000001" in path]
    seal_segment(tmp_path, 2, b"two\n", final)
    stages[-1].settle()
    assert [line.get("segment") for line in stage.journal()] == [None, 1, 2]
    # The journal was lost between the upload and its line.
    whole = (tmp_path / JOURNAL_NAME).read_bytes()
    (tmp_path / JOURNAL_NAME).write_bytes(whole[: whole.rindex(b'{"archive":"stored"')])
    s3.objects[f"host-1/{JOURNAL_NAME}"] = kept((tmp_path / JOURNAL_NAME).read_bytes())
    stages.append(Stage(tmp_path, s3))
    stages[-1].settle()
    assert [line.get("segment") for line in stage.journal()] == [None, 1, 2]
    assert s3.overwritten == [f"host-1/{JOURNAL_NAME}"] * len(s3.overwritten)


def test_numbers_that_begin_again_are_not_taken_for_archived(stage: Stage, stages: list[Stage], s3: FaultyS3) -> None:
    seal_segment(stage.directory, 1, b"one\n")
    stage.settle()
    for path in stage.directory.glob("courier-*"):
        path.unlink()
    seal_segment(stage.directory, 1, b"other\n", begun="20261126T000000Z")
    stages.append(Stage(stage.directory, s3))
    stages[-1].settle()
    assert len([key for key in s3.contents() if key.endswith(".jsonl")]) == 2


def test_another_directory_at_the_prefix_is_refused_and_nothing_of_it_is_mixed_in(
    stage: Stage, stages: list[Stage], tmp_path: Path, s3: FaultyS3, capfd: pytest.CaptureFixture[str]
) -> None:
    seal_segment(tmp_path, 1, b"one\n")
    stage.settle()
    before = s3.contents()
    other = tmp_path / "other"
    other.mkdir()
    seal_segment(other, 1, b"another machine\n", begun="20261125T093001Z")
    stages.append(Stage(other, s3))
    stages[-1].step_until(lambda: stages[-1].failures)
    assert s3.contents() == before
    assert stages[-1].standing.segments == 1
    stages.append(Stage(other, s3, prefix="host-2"))
    stages[-1].settle()
    assert [line["archive"] for line in stages[-1].journal()] == ["begun", "begun", "stored"]


def test_of_two_directories_that_begin_at_one_prefix_at_once_one_is_refused(stage: Stage, s3: FaultyS3) -> None:
    theirs = b'{"archive":"begun"}\n'

    def choose(method: str, path: str) -> str:
        if method == "PUT" and JOURNAL_NAME in path:
            s3.objects.setdefault(f"host-1/{JOURNAL_NAME}", kept(theirs))
        return PASS

    s3.choose = choose
    seal_segment(stage.directory, 1, b"one\n")
    stage.step_until(lambda: stage.failures)
    assert s3.contents() == {f"host-1/{JOURNAL_NAME}": theirs}
    assert stage.standing.segments == 1


def test_a_key_with_other_content_holds_up_no_other_segment(stage: Stage) -> None:
    final = seal_segment(stage.directory, 1, b"one\n")
    seal_segment(stage.directory, 2, b"two\n", final)
    first, second = sealed(stage.directory)
    stage.s3.objects[f"{DATE}{first.path.name}"] = kept(b"another machine\n")
    stage.step_until(lambda: stage.archive.has(second))
    assert not stage.archive.has(first)
    assert stage.failures
    assert stage.standing.failing
    assert stage.s3.contents()[f"{DATE}{first.path.name}"] == b"another machine\n"
    # Once a person has moved it away, the archive goes on by itself.
    del stage.s3.objects[f"{DATE}{first.path.name}"]
    stage.settle()
    assert stage.archive.has(first)
    assert not stage.standing.failing


def test_a_segment_that_somebody_removes_is_reported_and_forgotten(
    stage: Stage, s3: FaultyS3, caplog: pytest.LogCaptureFixture
) -> None:
    s3.choose = lambda *_: FAIL
    final = seal_segment(stage.directory, 1, b"one\n")
    seal_segment(stage.directory, 2, b"two\n", final)
    stage.step_until(lambda: stage.failures)
    sealed(stage.directory)[0].path.unlink()
    stage.step()
    assert stage.standing.segments == 1
    s3.choose = lambda *_: PASS
    stage.settle()
    assert stage.standing == Standing()


def test_segments_of_earlier_versions_are_left_alone(stage: Stage) -> None:
    (stage.directory / "courier-20251125T093000.123Z-000001.jsonl").write_bytes(b"{}\n")
    stage.step()
    stage.settle()
    assert stage.standing == Standing()
    assert not [key for key in stage.s3.contents() if "000001" in key]


def test_a_segment_is_archived_plain_only_when_it_is_not_compressed_in_time(
    tmp_path: Path, s3: FaultyS3, stages: list[Stage]
) -> None:
    stage = Stage(tmp_path, s3, compresses=True)
    stages.append(stage)
    final = seal_segment(tmp_path, 1, b"one\n")
    stage.step_until(lambda: f"host-1/{JOURNAL_NAME}" in s3.contents() and not stage.process.is_busy)
    assert stage.standing.segments == 1
    compress_segment(sealed(tmp_path)[0], final)
    stage.settle()
    seal_segment(tmp_path, 2, b"two\n", final)
    stage.step()
    assert stage.standing.segments == 1
    stage.skipped += COMPRESSION_SECONDS
    stage.settle()
    assert [line.get("file", "").rpartition("Z")[2] for line in stage.journal()] == ["", ".jsonl.zst", ".jsonl"]


def test_the_archive_is_full_while_what_waits_fills_the_bytes_to_keep(
    tmp_path: Path, s3: FaultyS3, stages: list[Stage]
) -> None:
    stage = Stage(tmp_path, s3, keep_bytes=1000)
    stages.append(stage)
    s3.choose = lambda *_: FAIL
    seal_segment(tmp_path, 1, b"x" * 600)
    active = tmp_path / "courier-000002-20261125T103000Z.jsonl"
    active.write_bytes(b"y" * 400)
    stage.step_until(lambda: stage.failures)
    assert not stage.standing.full
    active.write_bytes(b"y" * 401)
    assert stage.step() <= 1.0
    assert stage.standing.full
    s3.choose = lambda *_: PASS
    stage.step_until(lambda: not stage.standing.full)
    assert stage.standing.segments == 0
    # The active segment alone never stops anything: nothing would release it.
    active.write_bytes(b"y" * 5000)
    stage.settle()
    assert not stage.standing.full


def test_the_archive_is_full_too_when_one_segment_that_it_refuses_keeps_all_after_it(
    tmp_path: Path, s3: FaultyS3, stages: list[Stage]
) -> None:
    stage = Stage(tmp_path, s3, keep_bytes=1000)
    stages.append(stage)
    s3.objects[f"{DATE}courier-000002-{BEGUN}.jsonl"] = kept(b"another machine\n")
    final = ""
    for number, size in enumerate((300, 100, 500, 390), 1):
        final = seal_segment(tmp_path, number, b"x" * size, final)
    stage.step_until(lambda: stage.standing.segments == 1)
    # The first may go.
    assert not stage.standing.full
    (tmp_path / "courier-000005-20261125T103000Z.jsonl").write_bytes(b"y" * 20)
    stage.step()
    assert stage.standing.full
    del s3.objects[f"{DATE}courier-000002-{BEGUN}.jsonl"]
    stage.step_until(lambda: not stage.standing.full)
    assert stage.standing.segments == 0


def test_what_is_in_the_archive_is_known_before_a_full_disk_takes_the_new_place(
    stage: Stage, stages: list[Stage], s3: FaultyS3
) -> None:
    seal_segment(stage.directory, 1, b"one\n")
    stage.settle()
    moved = Stage(stage.directory, s3, "host-2")
    stages.append(moved)
    with faulty_os() as faults:
        faults.fail(lambda name: name == JOURNAL_NAME)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                moved.step()
        assert moved.archive.has(sealed(stage.directory)[0])
    moved.settle()
    assert [line["archive"] for line in moved.journal()] == ["begun", "stored", "begun"]


def test_a_child_that_hangs_is_stopped(stage: Stage, s3: FaultyS3) -> None:
    s3.choose = lambda method, _: STALL if method == "GET" else PASS
    seal_segment(stage.directory, 1, b"one\n")
    stage.step_until(lambda: stage.process.is_busy and s3.seen)
    hung = stage.process.pid
    stage.skipped += 1000.0
    stage.step()
    assert stage.failures == 1
    assert stage.process.pid != hung
    s3.choose = lambda *_: PASS
    stage.settle()
    assert stage.archive.has(sealed(stage.directory)[0])


def test_a_child_ends_when_the_auditor_is_gone(tmp_path: Path, s3: FaultyS3) -> None:
    s3.choose = lambda *_: STALL
    stage = Stage(tmp_path, s3)
    seal_segment(tmp_path, 1, b"one\n")
    stage.step_until(lambda: s3.seen)
    child = stage.process._child
    assert child is not None
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(10) == 0


def test_the_last_segment_is_archived_at_the_end_within_the_time_that_is_left(
    tmp_path: Path, s3: FaultyS3, stages: list[Stage]
) -> None:
    stage = Stage(tmp_path, s3, compresses=True)
    stages.append(stage)
    seal_segment(tmp_path, 1, b"one\n")
    stage.archive.finish(lambda: sealed(tmp_path), 60.0)
    assert stage.archive.has(sealed(tmp_path)[0])
    assert s3.contents()[f"host-1/{JOURNAL_NAME}"] == (tmp_path / JOURNAL_NAME).read_bytes()
    assert stage.process.pid is None
    s3.choose = lambda *_: STALL
    seal_segment(tmp_path, 2, b"two\n", begun="20261126T000000Z")
    began = time.monotonic()
    stage.archive.finish(lambda: sealed(tmp_path), 0.5)
    assert time.monotonic() - began < 10.0
    assert stage.process.pid is None


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_server_does_and_whoever_is_killed_nothing_is_lost_or_overwritten(
    tmp_path: Path, s3: FaultyS3, stages: list[Stage], seed: int
) -> None:
    chance = random.Random(seed)
    previous = ""
    contents: dict[str, bytes] = {}
    number = 0

    def choose(_method: str, _path: str) -> str:
        return chance.choice((*FAULTS, CUT, LOSE)) if chance.random() < 0.2 else PASS

    s3.choose = choose
    stage = Stage(tmp_path, s3)
    stages.append(stage)
    for _ in range(60):
        match chance.randrange(6):
            case 0:
                number += 1
                content = chance.randbytes(chance.choice((0, 10, 100_000)))
                previous = seal_segment(tmp_path, number, content, previous)
                contents[f"courier-{number:06d}-{BEGUN}"] = content
            case 1 if stage.process.pid is not None:
                os.kill(stage.process.pid, signal.SIGKILL)
            case 2:
                # The auditor was killed, at any step.
                stage.process.end()
                stage = Stage(tmp_path, s3)
                stages.append(stage)
        for _ in range(chance.randrange(20)):
            stage.step()
            time.sleep(0.01)
        for segment in sealed(tmp_path):
            # What retention may remove at any time.
            if stage.archive.has(segment):
                assert s3.contents()[f"{DATE}{segment.path.name}"] == contents[segment.stem]
                assert s3.contents()[f"{DATE}{segment.seal.name}"] == segment.seal.read_bytes()
    s3.choose = lambda *_: PASS
    stage.settle()
    assert all(map(stage.archive.has, sealed(tmp_path)))
    assert set(s3.overwritten) <= {f"host-1/{JOURNAL_NAME}"}
    lines = s3.contents()[f"host-1/{JOURNAL_NAME}"].splitlines()
    assert {orjson.loads(line).get("segment") for line in lines[1:]} == set(range(1, number + 1))
