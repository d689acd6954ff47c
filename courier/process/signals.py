"""How the supervisor takes signals: as data, one at a time. No handler ever runs between two lines of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Final

TAKEN: Final = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGCHLD,
        signal.SIGALRM,
    }
)

_SHORTEST: Final = 0.001


def block_signals() -> None:
    """Block what is taken here, so that it waits in the kernel until it is asked for."""
    signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
    # Where the parent ignored it, the kernel would reap the children itself, and no exit code would be seen.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def next_signal(timeout: float) -> signal.Signals:
    """Wait for a signal and take it; SIGALRM when none came within ``timeout`` seconds, or now and then before.

    Not ``signal.sigtimedwait``: where the process was stopped and continued (Ctrl-Z, a frozen container) beyond the
    timeout, CPython (3.11 to 3.13 at least) returns memory that nobody wrote, and that may read as SIGINT.
    """
    signal.setitimer(signal.ITIMER_REAL, max(timeout, _SHORTEST))
    return signal.Signals(signal.sigwait(TAKEN))


def pending_signals() -> Iterator[signal.Signals]:
    """Take the signals that have come already, without waiting."""
    while pending := signal.sigpending() & TAKEN:
        yield signal.Signals(signal.sigwait(pending))


def disarm_timer() -> None:
    """Let no further SIGALRM come."""
    signal.setitimer(signal.ITIMER_REAL, 0)
