"""What is due: nothing twice, nothing late, and no flood, whatever happens to the process and to the clock."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from courier.scheduler.agenda import CLOCK_SET_BACK_MINUTES, GRACE_MINUTES, Agenda, Due
from courier.scheduler.schedule import parse_schedule
from courier.scheduler.tasks import Task
from tests.examples import examples

START = 28_000_020
"""A full hour."""


def task(name: str, schedule: str = "* * * * *") -> Task:
    return Task(name, f"/{name}", parse_schedule(schedule))


def done(agenda: Agenda) -> list[tuple[str, int]]:
    """Settle all that is pending, and return it."""
    found = [(due.task.name, due.minute - START) for due in agenda.pending]
    for due in agenda.pending:
        agenda.settle(due)
    return found


def test_a_task_is_due_once_each_time_and_a_start_repeats_nothing() -> None:
    agenda = Agenda([task("a"), task("b", "*/2 * * * *")], START)
    assert agenda.look(START) == []
    assert done(agenda) == []
    agenda.look(START + 1)
    assert done(agenda) == [("a", 1)]
    agenda.look(START + 1)
    assert done(agenda) == []
    agenda.look(START + 2)
    assert done(agenda) == [("a", 2), ("b", 2)]
    assert Agenda([task("a")], agenda.done_until).look(START + 2) == []


def test_after_a_long_stop_each_task_is_due_once_at_the_most_and_what_is_too_late_is_named() -> None:
    agenda = Agenda([task("each"), task("early", "*/20 * * * *"), task("now", "0 * * * *")], START)
    missed = agenda.look(START + 60 + 20)
    assert Counter(due.task.name for due in missed) == {"each": 1, "early": 1, "now": 1}
    assert done(agenda) == [("each", 80), ("early", 80)]


def test_within_the_grace_the_latest_time_still_counts() -> None:
    agenda = Agenda([task("a", "0 * * * *")], START - 10)
    assert agenda.look(START + GRACE_MINUTES - 1) == []
    assert done(agenda) == [("a", 0)]


def test_what_can_t_be_enqueued_waits_for_as_long_as_it_takes_and_only_its_latest_time() -> None:
    agenda = Agenda([task("often"), task("once", f"{(START + 1) % 60} * * * *")], START)
    missed = []
    for minute in range(START + 1, START + 31):
        missed += agenda.look(minute)
    assert [due.task.name for due in missed] == ["often"] * 29
    assert agenda.done_until == START
    assert done(agenda) == [("once", 1), ("often", 30)]
    assert agenda.done_until == START + 30


def test_a_clock_set_back_a_little_repeats_nothing_and_one_set_right_is_believed() -> None:
    agenda = Agenda([task("a")], START)
    agenda.look(START + 10)
    done(agenda)
    agenda.look(START + 10 - CLOCK_SET_BACK_MINUTES)
    assert done(agenda) == []
    before = START - 10 * CLOCK_SET_BACK_MINUTES
    agenda.look(before)
    agenda.look(before + 1)
    assert [minute for _, minute in done(agenda)] == [before + 1 - START]


class World:
    """A scheduler that is killed, stopped and restarted at random, with a queue that fails at times."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        schedules = ["* * * * *", "*/5 * * * *", f"{seed % 60} * * * *", "7,8,9 */2 * * *", "0 0 * * *"]
        self.tasks = [task(f"t{n}", each) for n, each in enumerate(schedules)]
        self.now = START + seed
        self.word = self.now
        self.sent: list[tuple[int, Due]] = []
        self.missed: list[Due] = []
        self.repeats = 0

    def run(self, minutes: int) -> None:
        agenda = Agenda(self.tasks, self.word)
        end = self.now + minutes
        while self.now < end:
            self.missed += agenda.look(self.now)
            self.word = agenda.done_until
            fails = self.chance.random() < 0.2
            for due in agenda.pending:
                if fails:
                    break
                self.sent.append((self.now, due))
                if self.chance.random() < 0.05:
                    # Killed between the queue's answer and the note of it: the successor sends it again.
                    self.repeats += len(agenda.pending)
                    agenda = Agenda(self.tasks, self.word)
                    break
                agenda.settle(due)
                self.word = agenda.done_until
            if self.chance.random() < 0.1:
                agenda = Agenda(self.tasks, self.word)
            self.now += self.chance.choice((0, 1, 1, 1, 1, 2, 3, 30))


@pytest.mark.parametrize("seed", range(examples(100)))
def test_whatever_befalls_it_a_task_is_enqueued_once_for_each_time_or_missed(seed: int) -> None:
    world = World(seed)
    first = world.now
    world.run(3000)
    counts = Counter((due.task.name, due.minute) for _, due in world.sent)
    assert sum(counts.values()) - len(counts) <= world.repeats
    for at, due in world.sent:
        assert due.task.schedule.is_due(due.minute)
        assert first < due.minute <= at
    # One look enqueues a task once at the most.
    assert all(count <= 2 for count in Counter((at, due.task.name) for at, due in world.sent).values())
    assert max(due.minute for _, due in world.sent if due.task.name == "t0") > world.now - 100
