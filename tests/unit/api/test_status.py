"""The numbers of /status, held against a simple model, whoever is killed, silent or replaced meanwhile."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_left
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.status import LATENCY_WINDOWS, Status
from courier.process import scoreboard
from courier.process.histogram import Histogram
from courier.process.scoreboard import (
    DRAINING,
    EMPTY,
    GAUGES,
    LATENCY_BOUNDS,
    READY,
    SILENT_SECONDS,
    STARTING,
    Scoreboard,
    Slot,
)
from courier.process.word_table import Kind
from tests.unit.api.boards import observed

START = 50_000.0
UNIX = 1_764_150_000.0
COUNTS = {"api": 1, "auditor": 1, "sender": 32, "consumer": 8}
"""The slots of a program with 8 consumers and 16 senders, spare ones included."""


class Program:
    """A program whose clock the test sets. It counts what happens as a model of /status."""

    def __init__(self, patch: pytest.MonkeyPatch, seed: int) -> None:
        self.now = START
        patch.setattr("time.monotonic", lambda: self.now)
        patch.setattr("time.time", lambda: UNIX + self.now - START)
        self.chance = random.Random(seed)
        self.board = Scoreboard.create(COUNTS)
        self.board.supervisor.words[scoreboard.STATE] = READY
        self.senders = self.board.slots("sender")[:16]
        self.frozen: set[int] = set()
        for role in COUNTS:
            for slot in self.board.slots(role)[:16]:
                self.begin(slot)
        self.status = Status(observed(self.board), {})
        self.delivered = 0
        self.durations: list[tuple[float, float]] = []

    def begin(self, slot: Slot) -> None:
        slot.words[scoreboard.STATE] = READY
        slot.words[scoreboard.IN_FLIGHT] = 1
        slot.reals[scoreboard.STARTED] = slot.reals[scoreboard.BEAT] = self.now

    def working(self) -> list[Slot]:
        return [slot for slot in self.senders if slot.index not in self.frozen]

    def deliver(self) -> None:
        if not self.working():
            return
        slot = self.chance.choice(self.working())
        histogram = Histogram.of_latency(slot)
        for _ in range(self.chance.randint(1, 50)):
            seconds = self.chance.lognormvariate(-5.0, 2.0)
            histogram.observe(seconds)
            self.durations.append((self.now, seconds))
            self.delivered += 1
            slot.words[scoreboard.DELIVERED] += 1
        histogram.flush()

    def kill(self) -> None:
        """Kill a sender, reap it as the supervisor does, and start another one in its slot."""
        slot = self.chance.choice(self.senders)
        self.frozen.discard(slot.index)
        for word in GAUGES:
            slot.words[word] = 0
        slot.words[scoreboard.STATE] = EMPTY
        slot.words[scoreboard.RESTARTS] += 1
        slot.words[scoreboard.RESTARTS_SIGNAL] += 1
        self.begin(slot)

    def stop(self) -> None:
        """Stop a sender as SIGSTOP does."""
        self.frozen.add(self.chance.choice(self.senders).index)

    def tick(self) -> None:
        self.now = float(round(self.now) + 1)
        for role in COUNTS:
            for slot in self.board.slots(role)[:16]:
                if role != "sender" or slot.index not in self.frozen:
                    slot.reals[scoreboard.BEAT] = self.now
        self.status.sample()

    def answer(self) -> dict[str, Any]:
        text = json.dumps(self.status.answer(), allow_nan=False)
        found: dict[str, Any] = json.loads(text)
        return found


@given(st.lists(st.sampled_from(["deliver", "deliver", "tick", "tick", "kill", "stop"]), max_size=120), st.integers())
@settings(deadline=None, max_examples=60)
def test_totals_percentiles_and_gauges_are_right_whoever_is_killed_or_stopped(events: list[str], seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        program = Program(patch, seed)
        for event in events:
            getattr(program, event)()
        shown = program.answer()
        assert shown["totals"]["delivered"] == program.delivered
        silent = [slot for slot in program.senders if program.now - slot.reals[scoreboard.BEAT] >= SILENT_SECONDS]
        others = sum(len(program.board.slots(role)[:16]) for role in COUNTS if role != "sender")
        assert shown["in_flight"] == len(program.senders) - len(silent) + others
        states = [worker["state"] for worker in shown["workers"] if worker["role"] == "sender"]
        assert states.count("silent") == len(silent)
        assert sum(worker["restarts"] for worker in shown["workers"]) == events.count("kill")
        assert sum(worker["restarts_by"]["signal"] for worker in shown["workers"]) == events.count("kill")
        for window in LATENCY_WINDOWS:
            known = sorted(seconds for at, seconds in program.durations if program.now - at < window)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
                found = shown["latency"][f"{window}s"]["delivery"][name]
                if not known:
                    # What happened at the very start of the window may count or not.
                    continue
                exact = bisect_left(LATENCY_BOUNDS, known[math.ceil(share * len(known)) - 1])
                if len(known) == sum(program.now - at <= window for at, _ in program.durations):
                    lower = LATENCY_BOUNDS[exact - 1] if exact else 0.0
                    assert lower <= found <= min(LATENCY_BOUNDS[exact], LATENCY_BOUNDS[-2])


WORDS = [word for word in scoreboard.WORDS if Kind.REAL not in word.kind and word.name != "state"]


@given(st.integers(), st.integers(0, 2**40))
@settings(deadline=None, max_examples=60)
def test_whatever_the_words_are_the_answer_is_json_without_nan_and_within_its_size(seed: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        program = Program(patch, seed)
        patch.setattr("courier.api.memory.memory_of", lambda pid: pid)
        # Words that are looked up in a table have no other values than those of the table.
        tables = {
            "duty",
            "audit_failing",
            "archive_state",
            "call_failing",
            "send_failing",
            "short_of",
            "stacks",
            "bug_messages",
        }
        for role in COUNTS:
            for slot in program.board.slots(role):
                slot.words[scoreboard.STATE] = program.chance.choice([EMPTY, STARTING, READY, DRAINING])
                for word in WORDS:
                    if word.name not in tables and word.role in (role, "worker"):
                        for place in range(word.place, word.place + word.size):
                            slot.words[place] = program.chance.randint(0, most)
        program.tick()
        program.tick()
        shown = program.answer()
        assert shown["state"] in ("ready", "not ready", "draining", "starting")
        text = json.dumps(program.status.samples(), allow_nan=False)
        assert len(json.dumps(shown)) < 100_000
        assert len(text) < 150_000
