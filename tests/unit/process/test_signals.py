"""Signals as data, in a process of their own that takes them."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from courier.process.signals import block_signals, pending_signals
from tests.unit.process.waiting import eventually, forked


def test_a_signal_that_sigcont_takes_back_just_before_it_is_taken_hangs_nobody() -> None:
    def continue_before_the_kernel_is_asked(_frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in ("sigwait", "sigtimedwait"):
            os.kill(os.getpid(), signal.SIGCONT)

    def take() -> None:
        block_signals()
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            os.kill(os.getpid(), number)
            sys.setprofile(continue_before_the_kernel_is_asked)
            taken = list(pending_signals())
            sys.setprofile(None)
            assert taken == []
        os.kill(os.getpid(), signal.SIGTTIN)
        os.kill(os.getpid(), signal.SIGTERM)
        assert set(pending_signals()) == {signal.SIGTTIN, signal.SIGTERM}

    pid = forked(take)
    try:
        _, status = eventually(lambda: ended if (ended := os.waitpid(pid, os.WNOHANG))[0] else None, "its end")
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    assert status == 0
