"""Signals as data: the supervisor takes them one at a time, and no handler ever interrupts its code."""

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
        # The kernel sends it when the control socket becomes readable.
        signal.SIGIO,
        # It makes a process print its stacks.
        signal.SIGRTMIN,
    }
)

LEFT_ALONE: Final = frozenset(
    {
        # The kernel allows no other action for these.
        signal.SIGKILL,
        signal.SIGSTOP,
        # These stop and continue a process, like Ctrl-Z and fg.
        signal.SIGTSTP,
        signal.SIGCONT,
        # A watchdog ends a hung process with this: Courier's a worker, systemd's the supervisor.
        signal.SIGABRT,
    }
)
"""Signals that keep their action. Signals that are neither here nor in :data:`TAKEN` are ignored."""

_SHORTEST: Final = 0.001


def block_signals() -> None:
    """Block the signals in :data:`TAKEN`, so that they wait in the kernel until they are taken, and ignore all others.

    Most of the others end a process by default, but none of them is a request to stop. The children inherit this. A
    fault in the process still ends it: the kernel doesn't let a process ignore that.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
    for number in signal.valid_signals() - TAKEN - LEFT_ALONE:
        signal.signal(number, signal.SIG_IGN)
    # If the parent process ignored it, the kernel would reap the children, and their exit codes would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def next_signal(timeout: float) -> signal.Signals:
    """Wait for a signal and take it. It is SIGALRM after ``timeout`` seconds, sometimes earlier.

    ``signal.sigtimedwait`` isn't safe here. If the process was stopped and continued (Ctrl-Z, a frozen container)
    beyond the timeout, CPython (3.11 to 3.13 at least) returns uninitialized memory, which may look like SIGINT.
    """
    signal.setitimer(signal.ITIMER_REAL, max(timeout, _SHORTEST))
    return signal.Signals(signal.sigwait(TAKEN))


def pending_signals() -> Iterator[signal.Signals]:
    """Take and yield the pending signals, without waiting.

    Not by ``sigpending`` and ``sigwait``: SIGCONT in between discards a pending SIGTTIN or SIGTTOU, and ``sigwait``
    would wait for it for ever. With a timeout of 0 ``sigtimedwait`` never waits, so what :func:`next_signal` says
    against it doesn't apply.
    """
    while (taken := signal.sigtimedwait(TAKEN, 0)) is not None:
        yield signal.Signals(taken.si_signo)


def disarm_timer() -> None:
    """Stop the timer of :func:`next_signal`, so that no further SIGALRM arrives."""
    signal.setitimer(signal.ITIMER_REAL, 0)
