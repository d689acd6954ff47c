"""Shares of a limit, and the senders that count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.recipient.breaker import HALF_OPEN
from courier.recipient.peers import STARTING_SECONDS, share
from courier.recipient.views import breaker_state
from tests.unit.recipient.senders import LATER, Senders


@given(limit=st.integers(0, 10_000), senders=st.integers(1, 300))
def test_the_shares_of_a_limit_add_up_and_differ_by_one_at_most(limit: int, senders: int) -> None:
    shares = [share(limit, rank, senders) for rank in range(senders)]
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= 1


def test_a_sender_that_was_stopped_takes_the_others_to_be_there_for_a_moment() -> None:
    senders = Senders(2, in_flight=8)
    senders.refresh(LATER)
    for index in range(2):
        senders.silent(index, since=LATER)
    later = LATER + 60.0
    assert breaker_state(senders.board, "sender", later) == HALF_OPEN, "nobody says anything"
    senders.all[0].refresh(later)
    assert senders.all[0].limit == 4
    senders.alive(1)
    senders.all[0].refresh(later + 2 * STARTING_SECONDS)
    assert senders.all[0].limit == 4
