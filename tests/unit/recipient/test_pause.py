"""The pause that the recipient asks for, as all senders keep it."""

from __future__ import annotations

from courier.recipient.gate import WORTH_SHUTTING_SECONDS
from courier.recipient.policy import Retry
from courier.recipient.views import paused_until
from tests.unit.recipient.senders import BREAKER, LATER, Senders


def test_a_pause_outlives_the_sender_that_was_asked_for_it() -> None:
    senders = Senders(2)
    senders.all[0].record_failure_to_deliver(Retry(9.0, "status 429", 429, slow_down=9.0), 0.1, 1, LATER)
    senders.all[1].refresh(LATER + 0.1)
    senders.gone(0)
    assert paused_until(senders.board, "sender", LATER + 8.0) == LATER + 9.0
    senders.silent(1, since=0.0)
    assert paused_until(senders.board, "sender", LATER + 8.0) == 0.0


def test_a_long_pause_shuts_and_a_short_one_is_waited_out() -> None:
    senders = Senders(2)
    senders.all[0].record_failure_to_deliver(Retry(0.5, "status 429", 429, slow_down=0.5), 0.1, 1, LATER)
    senders.refresh(LATER + 0.1)
    assert [(gate.limit, gate.phase.is_shut) for gate in senders.all] == [(0, False)] * 2
    senders.all[1].record_failure_to_deliver(Retry(9.0, "status 429", 429, slow_down=9.0), 0.1, 1, LATER + 0.1)
    senders.refresh(LATER + 0.2)
    assert [(gate.limit, gate.phase.is_shut) for gate in senders.all] == [(0, True)] * 2
    assert paused_until(senders.board, "sender", LATER) == LATER + 9.1
    senders.refresh(LATER + 9.2 - WORTH_SHUTTING_SECONDS)
    assert [(gate.limit, gate.phase.is_shut) for gate in senders.all] == [(0, False)] * 2
    senders.refresh(LATER + 9.2)
    assert [gate.limit for gate in senders.all] == [1, 1], "as after an outage, the load comes back step by step"


def test_no_pause_is_longer_than_the_longest_cool_down() -> None:
    senders = Senders()
    senders.all[0].record_failure_to_deliver(Retry(43_200.0, "status 503", 503, slow_down=43_200.0), 0.1, 1, LATER)
    assert paused_until(senders.board, "sender", LATER) == LATER + BREAKER.longest
