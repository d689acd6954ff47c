"""Senders of two roles on one board: what one recipient does says nothing about the other."""

from __future__ import annotations

from typing import Any

import pytest

from courier.process.scoreboard import Scoreboard
from courier.recipient.policy import Retry
from courier.recipient.views import paused_until
from tests.unit.recipient.senders import LATER, Senders, opened

ROLES = ("sender", "sender:orders")


def _two(**limits: Any) -> list[Senders]:
    board = Scoreboard.create({**dict.fromkeys(ROLES, 3), "consumer": 1})
    return [Senders(2, role=role, board=board, **limits) for role in ROLES]


@pytest.mark.parametrize("broken", [0, 1])
def test_the_breaker_of_one_role_leaves_the_other_delivering(broken: int) -> None:
    both = _two()
    opened(both[broken])
    for senders in both:
        senders.refresh(LATER + 0.1)

    limits = [[gate.limit for gate in senders.all] for senders in both]
    assert limits[broken] == [0, 0]
    assert limits[1 - broken] == [8, 8]


@pytest.mark.parametrize("slow", [0, 1])
def test_a_pause_that_one_recipient_asks_for_is_its_own(slow: int) -> None:
    both = _two()
    both[slow].all[0].record_failure_to_deliver(
        Retry(0.0, "status 429", 429, fault=False, slow_down=9.0), 0.1, 1, LATER
    )
    for senders in both:
        senders.refresh(LATER + 0.1)

    assert paused_until(both[slow].board, ROLES[slow], LATER) > LATER
    assert paused_until(both[slow].board, ROLES[1 - slow], LATER) == 0.0
    assert [gate.phase.delivers and gate.limit for gate in both[1 - slow].all] == [8, 8]


@pytest.mark.parametrize("refusing", [0, 1])
def test_deliveries_of_one_role_hide_no_refusals_of_the_other(refusing: int) -> None:
    both = _two(reject_share=0.5)
    other = both[1 - refusing]
    stopped = False
    for n in range(40):
        other.deliver(0, LATER + n / 100)
        stopped = stopped or both[refusing].refuse(n % 2, LATER + n / 100)

    assert stopped
    other.refresh(LATER + 1.0)
    assert [gate.phase.delivers for gate in other.all] == [True, True]


def test_each_role_divides_its_own_rate_limit() -> None:
    both = _two(rate=10.0)
    for senders in both:
        senders.refresh(LATER + 0.1)
        begun = 0
        for n in range(1, 1001):
            now = LATER + 0.1 + n / 100
            for gate in senders.all:
                if not gate.rate.seconds_to_token(now):
                    gate.rate.take_token(now)
                    begun += 1
        assert 90 <= begun <= 112
