"""How long deliveries take, as a sender shows it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from courier.sender.delays import FASTEST_SECONDS, Delays

SECONDS = st.floats(1e-5, 100.0)


@given(st.lists(st.tuples(st.floats(0.0, 4 * FASTEST_SECONDS), st.none() | SECONDS), min_size=1, max_size=50))
def test_the_fastest_delivery_counts_for_a_while_and_no_longer(observed: list[tuple[float, float | None]]) -> None:
    slot = Scoreboard.create({"sender": 1}).slots("sender")[0]
    delays, now, seen = Delays(slot), 1e6, [(0.0, 0.0)]
    for pause, seconds in observed:
        now += pause
        if seconds is None:
            delays.observe(0, 0.0, 0.0, now)
        else:
            delays.observe(1, seconds, 2 * seconds, now)
            seen.append((now, seconds))
        fastest, infinite = slot.reals[scoreboard.FASTEST_SECONDS], float("inf")
        recent = min((took for at, took in seen if now - at < FASTEST_SECONDS), default=infinite)
        known = min((took for at, took in seen if now - at <= 3 * FASTEST_SECONDS), default=infinite)
        assert known <= (fastest or infinite) <= recent
        assert slot.reals[scoreboard.TYPICAL_SECONDS] == 2 * seen[-1][1]
