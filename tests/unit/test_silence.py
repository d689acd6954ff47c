"""What a silent worker last wrote on the board has no part in what any reader makes of it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.readiness import not_ready
from courier.api.status import Status
from courier.consumer.intake import Intake
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import DRAINING, GAUGES, READY, SILENT_SECONDS, Scoreboard, Slot
from tests.examples import examples
from tests.unit.api.boards import observed

COUNTS = {"auditor": 1, "sender": 3, "consumer": 3}
NOW = 1000.0

REALS = (
    scoreboard.SLOT_SECONDS,
    scoreboard.FASTEST_SECONDS,
    scoreboard.TYPICAL_SECONDS,
    scoreboard.TOKEN_AT,
    scoreboard.TOKEN_EVERY,
    scoreboard.PROBE_WANTED,
    scoreboard.FAILING_SINCE,
    scoreboard.FAILED_AT,
    scoreboard.SEND_FAILING_SINCE,
    scoreboard.SEND_FAILED_AT,
    scoreboard.OLDEST_AGE,
    scoreboard.OLDEST_AT,
    scoreboard.ARCHIVE_SINCE,
)
WORDS = tuple(GAUGES - set(REALS) - {scoreboard.CALL_FAILING, scoreboard.SEND_FAILING})
MOST = {
    **dict.fromkeys((scoreboard.ASKED, scoreboard.LIMIT, scoreboard.IN_FLIGHT, scoreboard.HELD), 10_000),
    scoreboard.HELD_BYTES: 2**30,
    scoreboard.ARCHIVE_STATE: 3,
}
"""Of a word that isn't here, nothing beyond 1 is sure to mean anything."""


def scribble(slot: Slot, chance: random.Random) -> None:
    """Write anything that a worker may have left."""
    slot.words[scoreboard.STATE] = chance.choice([READY, READY, DRAINING])
    for word in WORDS:
        most = MOST.get(word, 1)
        slot.words[word] = chance.choice([0, 1, chance.randint(0, most)])
    for real in REALS:
        slot.reals[real] = chance.choice([0.0, 0.001, NOW, NOW + 100.0, NOW + 100.0])


def program(silent: set[tuple[str, int]], seed: int, last_words: int) -> Scoreboard:
    """Make a board whose beating workers are as ``seed`` says, and the silent ones as ``last_words`` does."""
    board = Scoreboard.create(COUNTS)
    board.supervisor.words[scoreboard.STATE] = READY
    for role, count in COUNTS.items():
        for slot in board.slots(role)[:count]:
            is_silent = (role, slot.index) in silent
            chance = random.Random(f"{last_words if is_silent else seed} {role} {slot.index}")
            scribble(slot, chance)
            if not is_silent:
                # Mostly a program that works, or no room were the answer to everything.
                slot.words[scoreboard.HELD] = slot.words[scoreboard.HELD_BYTES] = 0
                slot.words[scoreboard.AUDIT_FAILING] = chance.choice([0, 0, 0, 1])
                slot.words[scoreboard.ARCHIVE_STATE] = chance.choice([0, 1, 2, 3])
                slot.words[scoreboard.ASKED] = chance.choice([0, 0, 3])
                slot.words[scoreboard.PUT] = chance.choice([0, 10]) if role == "consumer" else 0
                slot.words[scoreboard.TAKING] = 0
                slot.words[scoreboard.IN_FLIGHT] = chance.choice([0, 5])
            slot.reals[scoreboard.BEAT] = NOW - (SILENT_SECONDS if is_silent else 0.0)
    return board


SILENT = st.sets(st.sampled_from([(role, index) for role, count in COUNTS.items() for index in range(count)]))


@given(
    silent=SILENT,
    seed=st.integers(0, 10**6),
    last_words=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    rate_limit=st.sampled_from([None, 100.0, 0.05]),
)
@settings(deadline=None, max_examples=examples(500))
def test_the_room_never_depends_on_what_a_silent_worker_wrote(
    silent: set[tuple[str, int]], seed: int, last_words: tuple[int, int], rate_limit: float | None
) -> None:
    # Whoever looks for room is not silent to itself.
    silent -= {("consumer", 1)}
    claims = []
    for words in last_words:
        board = program(silent, seed, words)
        channels = cast("tuple[Channel, Channel]", (SimpleNamespace(unread_bytes=lambda: 0),) * 2)
        room = Intake(board.slots("consumer")[1], board, channels, 10, 30, rate_limit, NOW - 1.0)
        claims.append((room.claim(NOW, 4), room.pools[0].bundle, room.claim(NOW + 1.0, 4)))
    assert claims[0] == claims[1]


@given(silent=SILENT, seed=st.integers(0, 10**6), last_words=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))
@settings(deadline=None, max_examples=examples(100))
def test_nor_does_what_the_api_tells(silent: set[tuple[str, int]], seed: int, last_words: tuple[int, int]) -> None:
    told: list[Any] = []
    for words in last_words:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.monotonic", lambda: NOW)
            patch.setattr("time.time", lambda: NOW)
            view = observed(program(silent, seed, words))
            told.append((not_ready(view, NOW), Status(view, {}).answer()))
    assert told[0] == told[1]
