"""The dedupe window over kills and restarts: what was durable is recognised, and nothing else ever is."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.chain import encode
from courier.audit.files import AuditFiles
from courier.audit.ids_file import NAMES, IdsFiles
from courier.audit.record import recorder
from courier.audit.recorded_ids import RecordedIds
from courier.audit.segment import segments
from courier.auditor.dedupe import Dedupe
from courier.message import Message
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from tests.unit.stage import message

WINDOW: Final = 200
SENT: Final = 1_764_000_000_000


def sent(number: int) -> Message:
    name = f"{number:08x}-0000-4000-8000-000000000000"
    made = message("a")._replace(message_id=name, lease=30.0, received_at=0.0)
    return made._replace(receive_count=1, sent_ms=SENT + number, first_received_ms=SENT + 9)


def again(received: Message) -> Message:
    return received._replace(receive_count=received.receive_count + 1)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.002)


class Auditor:
    """The audit log of one auditor with its window. Whoever drops it has killed it."""

    def __init__(
        self, directory: Path, window: RecordedIds | None = None, *, queue: str = "queue", form: str = "json"
    ) -> None:
        self.slot = Scoreboard.create({"auditor": 1}).slots("auditor")[0]
        self.window = window or RecordedIds.create(WINDOW)
        self.files = AuditFiles(directory, 20_000, 3600.0, suffix=".txt" if form == "text" else ".jsonl")
        self.files.open()
        ids = IdsFiles(directory, queue, self.window.window)
        self.log = Dedupe(self.files, self.window, ids, directory, self.slot.words)
        self.log.start()
        self._recorder = recorder(form, "full")

    def load(self) -> Auditor:
        """Wait until it has loaded all that it will: in one process, only then a successor may begin."""
        eventually(lambda: not any(thread.name == "dedupe" for thread in threading.enumerate()))
        assert self.window.is_loaded or self.failures()
        return self

    def append(self, *messages: Message, outcome: str = "delivered") -> None:
        self.log.append([self._recorder(each, outcome, 200, 0.01, 1_764_000_100.0) for each in messages])

    def deliver(self, *messages: Message) -> None:
        self.append(*messages)
        self.log.recorded([each.message_id for each in messages], [each[4:7] for each in messages])

    def recognised(self, *messages: Message) -> list[Message]:
        return [each for each in messages if self.window.recognises(again(each))]

    def failures(self) -> int:
        return self.slot.words[scoreboard.DEDUPE_FAILURES]


def test_after_a_restart_all_that_was_recorded_is_recognised(tmp_path: Path) -> None:
    messages = [sent(number) for number in range(90)]
    first = Auditor(tmp_path).load()
    for start in range(0, 90, 30):
        first.deliver(*messages[start : start + 30])
    first.log.close()
    second = Auditor(tmp_path).load()
    assert second.recognised(*messages) == messages
    assert second.recognised(sent(1000)) == []
    assert second.slot.words[scoreboard.DEDUPE_IDS] >= 90


@pytest.mark.parametrize("keeps_memory", [True, False])
@pytest.mark.parametrize("was_added", [True, False])
def test_the_last_group_before_a_kill_is_found_in_its_records(
    tmp_path: Path, keeps_memory: bool, was_added: bool
) -> None:
    messages = [sent(number) for number in range(40)]
    first = Auditor(tmp_path).load()
    first.deliver(*messages[:20])
    (first.deliver if was_added else first.append)(*messages[20:])
    second = Auditor(tmp_path, first.window if keeps_memory else None).load()
    assert second.recognised(*messages) == messages


@pytest.mark.parametrize("removed", [*([name] for name in NAMES), [*NAMES]])
def test_ids_go_on_in_the_other_file_after_somebody_has_removed_theirs(tmp_path: Path, removed: list[str]) -> None:
    auditor = Auditor(tmp_path).load()
    auditor.deliver(sent(0))
    auditor.log.probe()
    for name in removed:
        (tmp_path / name).unlink(missing_ok=True)
    messages = [sent(number) for number in range(1, 50)]
    for each in messages:
        auditor.deliver(each)
    auditor.log.close()
    second = Auditor(tmp_path).load()
    assert second.recognised(*messages) == messages
    assert not auditor.failures()


def test_a_window_that_was_off_for_long_is_loaded_from_no_more_segments_than_it_needs(tmp_path: Path) -> None:
    Auditor(tmp_path).load().deliver(sent(0))
    # Without the window nobody kept the ids.
    off = AuditFiles(tmp_path, 2000, 3600.0)
    off.open()
    record = recorder("json", "full")
    messages = [sent(number) for number in range(1, 3 * WINDOW + 1)]
    for each in messages:
        off.append([record(each, "delivered", 200, 0.01, 1_764_000_100.0)])
    off.close()
    before = {segment.path: segment.path.stat().st_mtime_ns for segment in segments(tmp_path)}
    auditor = Auditor(tmp_path).load()
    assert auditor.recognised(*messages[-WINDOW // 2 :]) == messages[-WINDOW // 2 :]
    # What is read is written once more, so that it is durable.
    read = [path for path, at in before.items() if path.stat().st_mtime_ns != at]
    assert 0 < len(read) < len(before) // 2
    assert not auditor.failures()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_under_kills_and_restarts_exactly_what_was_durable_is_recognised(seed: int) -> None:
    chance = random.Random(seed)
    directory = Path(tempfile.mkdtemp())
    durable: list[Message] = []
    number = 0
    try:
        auditor = Auditor(directory).load()
        for _ in range(chance.randint(2, 12)):
            group = [sent(number + n) for n in range(chance.randint(1, 30))]
            number += len(group)
            if chance.random() < 0.2:
                auditor.log.rotate()
            (auditor.append if (is_killed := chance.random() < 0.3) else auditor.deliver)(*group)
            durable += group
            if is_killed or chance.random() < 0.2:
                keeps_memory = chance.random() < 0.5
                auditor = Auditor(directory, auditor.window if keeps_memory else None).load()
        # A little less than the window, since what was read twice is in it twice.
        last = durable[-WINDOW // 2 :]
        assert auditor.recognised(*last) == last
        assert auditor.recognised(*(sent(number + n) for n in range(50))) == []
        assert not auditor.failures()
    finally:
        shutil.rmtree(directory)


def test_a_torn_record_is_not_believed(tmp_path: Path) -> None:
    first = Auditor(tmp_path).load()
    first.deliver(sent(1))
    first.append(sent(2), sent(3))
    segment = segments(tmp_path)[-1].path
    os.truncate(segment, segment.stat().st_size - 1)
    second = Auditor(tmp_path).load()
    assert second.recognised(sent(1), sent(2), sent(3)) == [sent(1), sent(2)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_damaged_file_of_ids_costs_ids_and_never_makes_one_up(seed: int) -> None:
    chance = random.Random(seed)
    directory = Path(tempfile.mkdtemp())
    try:
        messages = [sent(number) for number in range(60)]
        first = Auditor(directory).load()
        for start in range(0, 60, 6):
            first.deliver(*messages[start : start + 6])
        first.log.close()
        path = directory / NAMES[0]
        data = bytearray(path.read_bytes())
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[place] ^= 1 << chance.randrange(8)
                case 1:
                    del data[place : place + chance.randint(1, 100)]
                case 2:
                    data[place:place] = chance.randbytes(chance.randint(1, 100))
                case _:
                    data = data[:place] or bytearray(b"x")
        path.write_bytes(data)
        second = Auditor(directory).load()
        before = second.recognised(*messages)
        assert second.recognised(*(sent(number) for number in range(60, 200))) == []
        # The file goes on behind what is sound.
        second.deliver(sent(500))
        second.log.close()
        third = Auditor(directory).load()
        assert third.recognised(*before, sent(500)) == [*before, sent(500)]
    finally:
        shutil.rmtree(directory)


def test_ids_are_believed_only_as_long_as_their_records_are_in_the_log_or_were_removed_on_purpose(
    tmp_path: Path,
) -> None:
    first = Auditor(tmp_path).load()
    groups = [[sent(10 * group + n) for n in range(5)] for group in range(5)]
    for group in groups:
        first.log.rotate()
        first.deliver(*group)
    first.log.close()
    paths = [segment.path for segment in segments(tmp_path)]
    # Removed by retention, compressed, lost, cut short, as it was.
    paths[0].unlink()
    line, _ = encode("", {"ledger": "removed", "segment": 1, "file": paths[0].name, "final": "", "at": ""})
    (tmp_path / "courier.ledger").write_bytes(line)
    paths[1].rename(paths[1].with_name(paths[1].name + ".gz"))
    paths[2].unlink()
    os.truncate(paths[3], paths[3].stat().st_size - 1)
    second = Auditor(tmp_path).load()
    assert second.recognised(*groups[0], *groups[1], *groups[4]) == [*groups[0], *groups[1], *groups[4]]
    assert second.recognised(*groups[2], *groups[3]) == []


def test_the_ids_of_another_queue_mean_nothing(tmp_path: Path) -> None:
    source = Auditor(tmp_path, queue="source").load()
    source.deliver(sent(1))
    source.append(sent(2))
    dead = Auditor(tmp_path, queue="dead letters").load()
    assert dead.recognised(sent(1), sent(2)) == []
    dead.deliver(sent(3))
    dead.log.close()
    # Whatever happened to a message in between, it is delivered.
    assert Auditor(tmp_path, queue="source").load().recognised(sent(1), sent(2), sent(3)) == []


def test_the_files_take_turns_and_hold_a_window_each(tmp_path: Path) -> None:
    window = RecordedIds.create(50)
    auditor = Auditor(tmp_path, window).load()
    messages = [sent(number) for number in range(400)]
    for start in range(0, 400, 10):
        auditor.deliver(*messages[start : start + 10])
    auditor.log.close()
    assert all((tmp_path / name).stat().st_size < 60 * 60 + 1000 for name in NAMES)
    second = Auditor(tmp_path, RecordedIds.create(50)).load()
    assert second.recognised(*messages[-50:]) == messages[-50:]


@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_a_strange_file_in_its_place_stops_no_record(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    for name in NAMES:
        plant(tmp_path / name)
    auditor = Auditor(tmp_path).load()
    auditor.deliver(sent(1))
    assert auditor.failures() == 1
    assert auditor.recognised(sent(1)) == [sent(1)]
    auditor.log.close()
    assert json.loads(segments(tmp_path)[-1].path.read_bytes())["message_id"] == sent(1).message_id


def test_with_text_the_last_group_before_a_kill_is_delivered_again(tmp_path: Path) -> None:
    first = Auditor(tmp_path, form="text").load()
    first.deliver(sent(1))
    first.deliver(sent(2))
    second = Auditor(tmp_path, form="text").load()
    assert second.recognised(sent(1), sent(2)) == [sent(1)]


def test_a_rejected_message_is_recognised_once_its_letter_is_taken(tmp_path: Path) -> None:
    first = Auditor(tmp_path).load()
    rejected = sent(1)
    first.append(rejected, outcome="rejected: status 400")
    first.log.recorded([], [])
    assert first.recognised(rejected) == []
    first.log.taken(rejected.message_id, rejected[4:7])
    first.log.close()
    assert Auditor(tmp_path).load().recognised(rejected) == [rejected]
