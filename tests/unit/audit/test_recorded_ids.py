"""The dedupe window: what it recognises, what it forgets, and what a killed or stopped writer leaves of it."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid
from collections import OrderedDict
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.recorded_ids import ID_BYTES, MOST_AT_ONCE, RecordedIds, is_kept, needed_bytes, pack_ids
from courier.message import LONGEST_ID, Message, Stamp
from tests.unit.stage import message

SENT = 1_764_000_000_000

ids = st.text("ab1-\0é", max_size=3) | st.text(max_size=LONGEST_ID) | st.integers(0, 40).map(lambda n: f"{n:036d}")
stamps = st.tuples(st.integers(1, 3), st.integers(SENT, SENT + 1), st.integers(SENT + 5, SENT + 6))


def window_of(size: int) -> tuple[RecordedIds, bytearray]:
    memory = bytearray(needed_bytes(size))
    return RecordedIds(memoryview(memory), size), memory


def add(window: RecordedIds, *entries: tuple[str, Stamp]) -> None:
    window.add(*pack_ids([each for each, _ in entries], [stamp for _, stamp in entries]))


def received(message_id: str, stamp: Stamp) -> Message:
    receives, sent, first = stamp
    return message("a")._replace(message_id=message_id, receive_count=receives, sent_ms=sent, first_received_ms=first)


@given(
    st.integers(1, 9),
    st.lists(st.lists(st.tuples(ids, stamps), max_size=12), max_size=12),
    st.lists(st.tuples(ids, stamps), max_size=20),
)
def test_the_window_holds_exactly_the_last_ids_that_it_can_keep(
    size: int, groups: list[list[tuple[str, Stamp]]], others: list[tuple[str, Stamp]]
) -> None:
    window, _ = window_of(size)
    written: list[tuple[str, Stamp]] = []
    for group in groups:
        add(window, *group)
        written += [entry for entry in group if is_kept(entry[0])]
    last = written[-size:]
    for entry in [*written, *others]:
        assert window.holds(*entry) == (entry in last), entry


@pytest.mark.parametrize("count", [MOST_AT_ONCE - 1, MOST_AT_ONCE + 1, 5000])
def test_a_large_group_is_written_in_pieces_and_around_the_end_of_the_ring(count: int) -> None:
    window, _ = window_of(3000)
    entries = [(str(uuid.uuid4()), (1, SENT, SENT + n)) for n in range(count + 2000)]
    add(window, *entries[:2000])
    add(window, *entries[2000:])
    last = set(entries[-3000:])
    assert [entry for entry in entries if window.holds(*entry) != (entry in last)] == []


@given(st.lists(st.tuples(ids | st.text("a\0", min_size=ID_BYTES, max_size=ID_BYTES), stamps), max_size=12))
def test_what_is_packed_comes_out_again(entries: list[tuple[str, Stamp]]) -> None:
    kept, packed = pack_ids([each for each, _ in entries], [stamp for _, stamp in entries])
    assert [*zip(*kept, strict=True)] == [entry for entry in entries if is_kept(entry[0])]
    assert [*map(list, packed.unpack())] == [*map(list, kept)]


RECORDED = (2, SENT, SENT + 5)


@pytest.mark.parametrize(
    ("recorded", "again", "is_recognised"),
    [
        pytest.param(RECORDED, (3, SENT, SENT + 5), True, id="its delete was lost"),
        pytest.param(RECORDED, (9, SENT, SENT + 5), True, id="several deletes were lost"),
        pytest.param(RECORDED, RECORDED, False, id="the same receive"),
        pytest.param(RECORDED, (1, SENT, SENT + 9), False, id="redriven, counted from the start"),
        pytest.param(RECORDED, (3, SENT, SENT + 9), False, id="redriven, counted from the start, received again"),
        pytest.param(RECORDED, (3, SENT + 1, SENT + 5), False, id="sent again under its id"),
        pytest.param((2, 0, 0), (3, 0, 0), False, id="a queue that says no times"),
        pytest.param((2, SENT, 0), (3, SENT, SENT + 5), True, id="read back from a segment"),
    ],
)
def test_only_a_later_receive_of_the_same_stay_in_the_queue_is_recognised(
    recorded: Stamp, again: Stamp, is_recognised: bool
) -> None:
    window, _ = window_of(4)
    name = str(uuid.uuid4())
    add(window, (name, recorded))
    assert window.recognises(received(name, again)) == is_recognised


@given(st.lists(ids, min_size=2, max_size=40, unique=True))
def test_an_id_is_never_taken_for_another_however_alike_they_are(names: list[str]) -> None:
    alike = [
        *names,
        *("p" * 40 + name[:80] for name in names),
        *(name[:ID_BYTES].ljust(ID_BYTES, "x") for name in names),
    ]
    recorded, others = alike[::2], set(alike[1::2]) - set(alike[::2])
    window, _ = window_of(200)
    add(window, *((name, RECORDED) for name in recorded))
    assert not [name for name in others if window.recognises(received(name, (3, SENT, SENT + 5)))]
    assert all(window.recognises(received(name, (3, SENT, SENT + 5))) == is_kept(name) for name in recorded)


def patchwork(before: bytes, after: bytes, chance: random.Random) -> bytearray:
    """Return memory in which some words of a write have arrived, in any order, as on a weakly ordered processor."""
    mixed = bytearray(before)
    for start in range(0, len(before), 4):
        if chance.random() < 0.5:
            mixed[start : start + 4] = after[start : start + 4]
    return mixed


@given(st.integers(2, 12), st.lists(st.integers(1, 4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_whatever_words_of_a_write_have_arrived_no_id_is_recognised_that_was_not_written(
    size: int, groups: list[int], chance: random.Random
) -> None:
    # Halves of ids are shared, and so are their times: a torn entry could spell an id that was never recorded.
    halves = [f"{n}" * 18 for n in range(4)]
    all_names = [first + last for first in halves for last in halves]
    window, memory = window_of(size)
    written: set[tuple[str, Stamp]] = set()
    for count in groups:
        group = [(chance.choice(all_names), (chance.randint(1, 2), SENT, SENT + 5)) for _ in range(count)]
        before = bytes(memory)
        add(window, *group)
        written |= set(group)
        torn = RecordedIds(memoryview(patchwork(before, bytes(memory), chance)), size)
        for name in all_names:
            for stamp in ((1, SENT, SENT + 5), (2, SENT, SENT + 5)):
                assert not torn.holds(name, stamp) or (name, stamp) in written


class Killed(Exception):
    pass


def killed_after(lines: int, window: RecordedIds, *entries: tuple[str, Stamp]) -> bool:
    """Write entries, and end the writer after so many lines of its code. Return whether it had got to its end."""
    left = lines

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_name not in ("add", "_add_in_pieces"):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                raise Killed
        return trace

    packed = pack_ids([each for each, _ in entries], [stamp for _, stamp in entries])
    traced = sys.gettrace()
    sys.settrace(trace)
    try:
        window.add(*packed)
    except Killed:
        return False
    finally:
        sys.settrace(traced)
    return True


def test_a_writer_killed_between_any_two_lines_costs_its_successor_no_older_id() -> None:
    size, ended, lines = 40, False, 0
    while not ended:
        lines += 1
        window, memory = window_of(size)
        model: OrderedDict[str, Stamp] = OrderedDict((f"{n:036d}", (1, SENT + n, SENT + n)) for n in range(70))
        add(window, *model.items())
        ended = killed_after(lines, window, *((f"new{n:033d}", (1, SENT, SENT)) for n in range(5)))
        successor = RecordedIds(memoryview(memory), size)
        # Of the oldest ones, the killed writer has overwritten as many as it wrote, and so does its successor.
        kept = list(model.items())[-size + 10 :]
        assert [entry for entry in kept if not successor.holds(*entry)] == [], lines
        again = [(f"new{n:033d}", (1, SENT, SENT)) for n in range(5)]
        add(successor, *again)
        assert [entry for entry in [*kept, *again] if not successor.holds(*entry)] == [], lines
    assert lines > 40


def test_a_window_without_memory_is_one_line_that_names_the_option() -> None:
    code = (
        "import resource\n"
        "from courier.audit.recorded_ids import RecordedIds\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 * 1024**2, 400 * 1024**2))\n"
        "try:\n"
        "    RecordedIds.create(10_000_000)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("CannotStart --dedupe-window 10000000 needs 751 MiB of memory: Cannot allocate memory; ")
    assert said.count("\n") == 1
