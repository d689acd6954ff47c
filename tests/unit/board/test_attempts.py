"""Attempts as records: whole, short enough, and free of what a terminal would obey."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.board.attempts import Attempt, unpack
from courier.process.ring import MOST_BYTES

ATTEMPT = Attempt(1764150000123, "8f0c2b1e", 3, 503, 0.04, "status 503; kept, and tried again soon", True, 7, 1)


def test_an_attempt_survives_the_ring() -> None:
    assert unpack(ATTEMPT.pack()) == ATTEMPT
    assert ATTEMPT.as_line(2) == {
        "time": "2025-11-26T09:40:00.123Z",
        "message_id": "8f0c2b1e",
        "attempt": 3,
        "status": 503,
        "seconds": 0.04,
        "outcome": "status 503; kept, and tried again soon",
        "failed": True,
        "sender": 2,
    }


@given(st.text(max_size=300), st.text(max_size=300), st.floats(0, 1e9), st.integers(0, 2**62))
def test_every_attempt_fits(message_id: str, outcome: str, seconds: float, skipped: int) -> None:
    attempt = ATTEMPT._replace(message_id=message_id, outcome=outcome, seconds=seconds, skipped=skipped)
    record = attempt.pack()
    assert len(record) <= MOST_BYTES
    found = unpack(record)
    assert found.skipped == skipped
    assert len(found.message_id) <= len(message_id)
