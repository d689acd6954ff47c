"""The ties between processes that the kernel keeps: who dies with a parent, and who inherits orphans. Linux only.

Elsewhere nothing is tied, and the ends of pipes and sockets have to do.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def die_with(parent: int) -> None:
    """Let the kernel kill this process when ``parent``, its parent, dies, even while this process is stopped.

    The kernel forgets it when this process forks, so its children aren't tied.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before the call.
        os.kill(os.getpid(), signal.SIGKILL)


def inherit_orphans() -> None:
    """Make this process the parent of its descendants whose own parent dies, so that it alone reaps them.

    Until then none of their pids, and no id of a group that they belong to, can be given to another process.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def group_lives(group: int) -> bool:
    """Return whether a process group has a process, even one that was not reaped yet."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def kill_group(group: int) -> None:
    """Send SIGKILL to every process of a group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    call = getattr(ctypes.CDLL(None), "prctl", None)
    if call is not None:
        call(option, ctypes.c_ulong(value), 0, 0, 0)
