"""The workers in /status, whatever state their slots are in, and their memory."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.memory import FRESH_SECONDS, MOST_AT_ONCE, STALE_SECONDS, Memory, memory_of
from courier.api.workers import SILENT, STATES, on_duty, used_slots, worker, workers
from courier.process import scoreboard
from courier.process.scoreboard import DRAINING, EMPTY, READY, SILENT_SECONDS, STARTING, Scoreboard
from courier.process.standby import FULL, HAS_ROOM, OFF
from tests.unit.api.boards import running_board

NOW = 1000.0


@pytest.fixture
def board() -> Scoreboard:
    return running_board(NOW)


@pytest.mark.parametrize(
    ("role", "duty", "state", "shown"),
    [
        ("sender", OFF, READY, False),
        ("sender", FULL, READY, True),
        ("consumer", HAS_ROOM, READY, True),
        ("consumer", OFF, READY, False),
        ("sender", HAS_ROOM, STARTING, None),
        ("sender", HAS_ROOM, DRAINING, None),
        ("auditor", OFF, READY, None),
        ("api", HAS_ROOM, READY, None),
    ],
)
def test_only_roles_with_standby_are_on_or_off_duty(
    board: Scoreboard, role: str, duty: int, state: int, shown: bool | None
) -> None:
    slot = board.slots(role)[0]
    slot.words[scoreboard.DUTY] = duty
    slot.words[scoreboard.STATE] = state
    assert on_duty(slot, NOW) is shown
    assert worker(slot, NOW)["on_duty"] is shown


def test_each_role_shows_what_it_does_and_no_other_roles_words(board: Scoreboard) -> None:
    for role in board.roles():
        for word in (scoreboard.LIMIT, scoreboard.ASKED, scoreboard.HELD):
            board.slots(role)[0].words[word] = word
    shown = {role: worker(board.slots(role)[0], NOW) for role in board.roles()}
    assert (shown["sender"]["limit"], shown["sender"]["asked"], shown["sender"]["held"]) == (
        scoreboard.LIMIT,
        None,
        None,
    )
    assert (shown["consumer"]["asked"], shown["auditor"]["held"]) == (scoreboard.ASKED, scoreboard.HELD)
    assert {shown["api"][name] for name in ("limit", "asked", "held")} == {None}


def test_spare_slots_are_left_out_and_those_of_dead_workers_stay(board: Scoreboard) -> None:
    dead = board.slots("sender")[1]
    dead.words[scoreboard.STATE] = EMPTY
    dead.words[scoreboard.PID] = 0
    dead.words[scoreboard.RESTARTS_SIGNAL] = 3
    assert board.slots("sender")[2] not in used_slots(board)
    (shown,) = [each for each in workers(board, NOW, Memory()) if (each["role"], each["index"]) == ("sender", 1)]
    assert (shown["state"], shown["pid"], shown["memory_bytes"]) == ("down", None, None)
    assert shown["restarts_by"] == {"exit": 0, "signal": 3, "hung": 0}


WRITTEN = st.dictionaries(st.sampled_from(sorted(scoreboard.GAUGES)), st.integers(0, 2**64 - 1))


@given(WRITTEN, st.sampled_from(["sender", "consumer", "auditor"]), st.sampled_from([READY, DRAINING]))
@settings(deadline=None)
def test_whatever_a_silent_worker_wrote_none_of_its_gauges_is_shown(
    words: dict[int, int], role: str, state: int
) -> None:
    board = running_board(NOW)
    slot = board.slots(role)[0]
    slot.words[scoreboard.STATE] = state
    slot.reals[scoreboard.BEAT] = NOW - SILENT_SECONDS
    before = worker(slot, NOW)
    for word, value in words.items():
        slot.words[word] = value
    assert worker(slot, NOW) == before
    assert before["state"] == SILENT
    assert {before[name] for name in ("on_duty", "in_flight", "limit", "asked", "held")} == {None}


@given(st.data())
@settings(deadline=None)
def test_every_board_can_be_shown(data: st.DataObject) -> None:
    board = running_board(NOW)
    word = st.integers(0, 2**63 - 1)
    for role in board.roles():
        for slot in board.slots(role):
            slot.words[scoreboard.STATE] = data.draw(st.integers(0, len(STATES) - 1))
            for name in ("PID", "DUTY", "IN_FLIGHT", "LIMIT", "ASKED", "HELD", "RESTARTS_EXIT"):
                slot.words[getattr(scoreboard, name)] = data.draw(word)
    shown = workers(board, NOW, Memory(lambda pid: None))
    assert len(shown) == len(used_slots(board))
    assert {each["state"] for each in shown} <= {*STATES, SILENT}


def test_the_memory_is_the_share_of_this_process_and_unknown_of_one_that_is_gone() -> None:
    own = memory_of(os.getpid())
    assert own is not None
    assert 1_000_000 < own < 2_000_000_000
    assert memory_of(2**22 + 1) is None


class Kernel:
    """A kernel that is asked for the memory of processes, and its clock."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.asked: list[int] = []
        patch.setattr("time.monotonic", lambda: self.now)

    def look(self, pid: int) -> int:
        self.asked.append(pid)
        return pid * 10


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_the_kernel_is_asked_for_new_processes_at_once_and_for_others_after_a_while(kernel: Kernel) -> None:
    memory = Memory(kernel.look)
    assert memory.of([1, 2]) == {1: 10, 2: 20}
    kernel.now += FRESH_SECONDS - 1
    assert memory.of([1, 2, 3]) == {1: 10, 2: 20, 3: 30}
    assert kernel.asked == [1, 2, 3]
    kernel.now += 1
    assert memory.of([2]) == {2: 20}
    assert kernel.asked == [1, 2, 3, 2]


def test_of_many_processes_a_few_are_looked_up_at_a_time_and_none_is_stale(kernel: Kernel) -> None:
    memory, pids = Memory(kernel.look), range(1, 27)
    memory.of(pids)
    seen = dict.fromkeys(pids, kernel.now)
    for _ in range(60):
        kernel.now += 1
        kernel.asked.clear()
        memory.of(pids)
        assert len(kernel.asked) <= MOST_AT_ONCE
        seen.update(dict.fromkeys(kernel.asked, kernel.now))
        assert max(kernel.now - at for at in seen.values()) < 2 * FRESH_SECONDS
    kernel.now += STALE_SECONDS
    kernel.asked.clear()
    memory.of(pids)
    assert kernel.asked == [*pids]
