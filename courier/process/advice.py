"""Advice for the operator about a worker that ended, by its signal or exit code. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final, NamedTuple

from courier.errors import EXIT_CANNOT_START

EXIT_FAILED: Final = 1
"""A worker's exit code after an exception."""


class Death(NamedTuple):
    """Why a worker ended, and what to do about it."""

    reason: str
    advice: str


HUNG: Final = Death(
    "its event loop made no turn for --hang-timeout, so the supervisor ended it",
    "report the stacks in this line; often a disk or a name server doesn't answer, or there is too little CPU",
)
KILLED_IN_DRAIN: Final = Death("it was stopped while it drained", "nothing; SQS shows its messages again")

NO_FORK: Final = "raise TasksMax (systemd), the container's pids limit or ulimit -u; give the host more memory"
"""What to do when a process can't be started."""

_CRASH: Final = "report the stacks in this line, with the versions of Courier, Python and the system"

BY_SIGNAL: Final[Mapping[int, Death]] = {
    signal.SIGKILL: Death(
        "another program or the kernel sent SIGKILL, often because memory ran out",
        "look at dmesg and the container's events for an OOM kill; give it more memory, or lower --concurrency",
    ),
    signal.SIGABRT: Death("it aborted: a library found its own state broken", _CRASH),
    signal.SIGSEGV: Death("a library crashed", _CRASH),
    signal.SIGBUS: Death(
        "memory backed by a file was lost because a disk failed or was full, or a library crashed", _CRASH
    ),
    signal.SIGILL: Death("a library contains an instruction that this CPU doesn't support", _CRASH),
    signal.SIGFPE: Death("a library crashed in arithmetic", _CRASH),
    signal.SIGALRM: Death("it took the supervisor for dead", "nothing, if it doesn't recur; otherwise report it"),
    signal.SIGXFSZ: Death("a file exceeded the size limit", "raise LimitFSIZE or ulimit -f"),
    signal.SIGXCPU: Death("it exceeded the limit of CPU time", "raise LimitCPU or ulimit -t"),
    signal.SIGSYS: Death(
        "it made a system call that a filter forbids", "allow it in the unit's SystemCallFilter or the seccomp profile"
    ),
}

BY_CODE: Final[Mapping[int, Death]] = {
    0: Death("it ended by itself, without a drain", "report it, with the lines before"),
    EXIT_FAILED: Death("an unhandled error ended it", "report the traceback in the line 'worker failed'"),
    EXIT_CANNOT_START: Death("it could not start", "see the reason and the advice in the line 'cannot start'"),
}


def explain_death(code: int, *, hung: bool = False, is_draining: bool = False) -> Death:
    """Return why a worker ended, from its exit code or its negative signal number.

    ``hung`` means that the watchdog ended it, ``is_draining`` that it was draining.
    """
    if hung:
        return HUNG
    if is_draining and code == -signal.SIGKILL:
        return KILLED_IN_DRAIN
    if code < 0:
        return BY_SIGNAL.get(-code) or Death(
            "another program sent it a signal", "find out which one; Courier sends none such"
        )
    return BY_CODE.get(code) or Death(f"it exited with code {code}", "report it, with the lines before")
