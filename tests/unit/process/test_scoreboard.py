from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from courier.process import scoreboard
from courier.process.scoreboard import AREAS, SLOT_WORDS, WORDS, Scoreboard, queued
from courier.process.word_table import Kind
from tests.unit.process.waiting import ended, forked


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create({"consumer": 2, "sender": 3})


def indices() -> dict[str, int]:
    named = {name: value for name, value in vars(scoreboard).items() if name.isupper() and isinstance(value, int)}
    return {n: v for n, v in named.items() if n not in {"EMPTY", "STARTING", "READY", "DRAINING", "SLOT_WORDS"}}


def test_every_word_has_a_place_of_its_own() -> None:
    places = [place for place in indices().values() if place not in AREAS]
    for area, size in AREAS.items():
        places += range(area, area + size)
    assert len(places) == len(set(places))
    assert max(places) < SLOT_WORDS
    assert set(indices().values()) >= scoreboard.GAUGES


@pytest.mark.parametrize("shown", [Kind.METRIC, Kind.TOTAL | Kind.RATE])
def test_no_two_words_are_shown_under_one_name(shown: Kind) -> None:
    names = [word.name for word in WORDS if word.kind & shown]
    assert len(names) == len(set(names)) > 10


def test_slots_start_empty_and_share_no_word(board: Scoreboard) -> None:
    slots = [slot for role in board.roles() for slot in board.slots(role)]
    assert [(s.role, s.index) for s in slots] == [
        ("consumer", 0),
        ("consumer", 1),
        ("sender", 0),
        ("sender", 1),
        ("sender", 2),
        ("supervisor", 0),
    ]
    for number, slot in enumerate(slots):
        assert set(slot.words) == {0}
        slot.words[0] = slot.words[SLOT_WORDS - 1] = number + 1
    for number, slot in enumerate(slots):
        assert (slot.words[0], slot.words[SLOT_WORDS - 1]) == (number + 1, number + 1)


def test_what_a_child_counts_all_see_and_it_outlives_the_child(board: Scoreboard) -> None:
    def child() -> None:
        slot = board.slots("sender")[1]
        slot.words[scoreboard.DELIVERED] += 5
        slot.reals[scoreboard.BEAT] = 1.5

    assert ended(forked(child)) == 0
    assert board.total(scoreboard.DELIVERED) == 5
    assert board.total(scoreboard.DELIVERED, "sender") == 5
    assert board.total(scoreboard.DELIVERED, "consumer") == 0
    assert board.slots("sender")[1].reals[scoreboard.BEAT] == 1.5


def test_a_reader_sees_the_old_number_or_the_new_one_and_nothing_between(board: Scoreboard) -> None:
    slot = board.slots("sender")[0]
    low, high = 0x0101_0101_0101_0101, 0xFEFE_FEFE_FEFE_FEFE
    slot.words[scoreboard.PUT] = low
    gate_reader, gate_writer = os.pipe()

    def writer() -> None:
        os.close(gate_writer)
        os.set_blocking(gate_reader, False)
        while True:
            for _ in range(1000):
                slot.words[scoreboard.PUT] = high
                slot.words[scoreboard.PUT] = low
            try:
                os.read(gate_reader, 1)
                return
            except BlockingIOError:
                continue

    pid = forked(writer)
    seen = {slot.words[scoreboard.PUT] for _ in range(200_000)}
    os.close(gate_writer)
    os.close(gate_reader)
    assert ended(pid) == 0
    assert seen <= {low, high}


def test_live_are_the_ready_and_the_draining(board: Scoreboard) -> None:
    for slot, state in zip(
        board.slots("sender"), (scoreboard.STARTING, scoreboard.READY, scoreboard.DRAINING), strict=True
    ):
        slot.words[scoreboard.STATE] = state
    assert [slot.index for slot in board.live("sender")] == [1, 2]
    assert board.live("consumer") == []


def test_an_area_is_summed_word_by_word(board: Scoreboard) -> None:
    for number, slot in enumerate(board.slots("sender")):
        slot.words[scoreboard.RETRIED_BY + 1] = 10**number
    board.slots("consumer")[0].words[scoreboard.RETRIED_BY] = 7
    assert board.totals(scoreboard.RETRIED_BY)[:3] == [7, 111, 0]
    assert board.totals(scoreboard.RETRIED_BY, "sender")[:3] == [0, 111, 0]
    assert len(board.totals(scoreboard.CALLS)) == AREAS[scoreboard.CALLS]


@pytest.mark.parametrize(
    ("unread", "put", "taken", "expected"), [(0, 9, 2, 0), (100, 9, 2, 7), (100, 2, 9, 0), (0, 0, 0, 0)]
)
def test_an_empty_channel_beats_what_the_counters_say(
    board: Scoreboard, unread: int, put: int, taken: int, expected: int
) -> None:
    board.slots("consumer")[0].words[scoreboard.PUT] = put
    board.slots("sender")[0].words[scoreboard.TAKEN] = taken
    channel = SimpleNamespace(unread_bytes=lambda: unread)
    assert queued(channel, board, scoreboard.PUT, scoreboard.TAKEN) == expected


def test_a_silent_worker_is_live_and_not_beating(board: Scoreboard) -> None:
    quiet, loud, starting = board.slots("sender")
    quiet.words[scoreboard.STATE] = loud.words[scoreboard.STATE] = scoreboard.READY
    starting.words[scoreboard.STATE] = scoreboard.STARTING
    quiet.reals[scoreboard.BEAT], loud.reals[scoreboard.BEAT] = 10.0, 10.1
    starting.reals[scoreboard.BEAT] = 12.0
    assert board.live("sender") == [quiet, loud]
    assert board.beating("sender", 12.5) == [loud]
