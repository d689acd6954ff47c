from __future__ import annotations

import signal

import pytest

from courier.process.advice import BY_CODE, BY_SIGNAL, HUNG, KILLED_IN_DRAIN, explain_death
from courier.process.signals import TAKEN

ENDS = [number for number in signal.Signals if number not in TAKEN | {signal.SIGSTOP, signal.SIGCONT, signal.SIGTSTP}]


@pytest.mark.parametrize("number", ENDS)
def test_each_signal_that_can_end_a_worker_says_why_and_what_to_do(number: signal.Signals) -> None:
    reason, advice = explain_death(-number)
    assert reason
    assert advice


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 134, 255])
def test_each_exit_code_says_why_and_what_to_do(code: int) -> None:
    assert all(explain_death(code))


def test_a_kill_by_the_watchdog_is_not_taken_for_a_lack_of_memory() -> None:
    assert explain_death(-signal.SIGKILL, hung=True) == explain_death(-signal.SIGABRT, hung=True) == HUNG
    assert explain_death(-signal.SIGKILL, is_draining=True) == KILLED_IN_DRAIN
    assert "memory" in explain_death(-signal.SIGKILL).reason


def test_a_crash_at_a_drain_is_a_crash_all_the_same() -> None:
    assert explain_death(-signal.SIGSEGV, is_draining=True) == BY_SIGNAL[signal.SIGSEGV]
    assert explain_death(1, is_draining=True) == BY_CODE[1]
