from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.process.watchdog import Watchdog


def test_a_worker_without_a_beat_for_longer_than_the_timeout_hangs() -> None:
    watchdog = Watchdog(30.0)
    assert not watchdog.hangs(beat=100.0, started=50.0, now=130.0)
    assert watchdog.hangs(beat=100.0, started=50.0, now=130.1)


def test_a_worker_that_has_not_beaten_yet_is_measured_from_its_start() -> None:
    watchdog = Watchdog(30.0)
    assert not watchdog.hangs(beat=1.0, started=100.0, now=120.0)
    assert watchdog.hangs(beat=1.0, started=100.0, now=131.0)


@given(stopped=st.floats(1.01, 1e6), hang_timeout=st.floats(1, 600))
def test_after_a_late_turn_nobody_hangs_for_a_whole_timeout(stopped: float, hang_timeout: float) -> None:
    watchdog = Watchdog(hang_timeout)
    now = 1000.0 + stopped
    assert watchdog.turn(planned=1000.0, now=now)
    assert not watchdog.hangs(beat=999.0, started=0.0, now=now + hang_timeout * 0.99)
    assert watchdog.hangs(beat=999.0, started=0.0, now=now + hang_timeout * 1.01)


@given(late=st.floats(0, 0.24))
def test_a_turn_that_is_hardly_late_forgives_nobody(late: float) -> None:
    watchdog = Watchdog(1.0)
    assert not watchdog.turn(planned=1000.0, now=1000.0 + late)
    assert watchdog.hangs(beat=998.0, started=0.0, now=1000.0 + late)
