"""The stacks of a process, readable by others: each process prints them to a file in memory on SIGRTMIN.

In a worker, a thread waits for the signal, so even a worker with a blocked loop answers. A signal handler can't print
them: it may run while CPython is in the middle of a call, and walking a half-built frame would end the process. Stacks
don't go to stderr, which may be full, and where they wouldn't be a log line. The supervisor shares the files of its
workers and logs their contents. Another reader finds the file's number on the board, opens the file through ``/proc``,
and sends the signal.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import faulthandler
import fcntl
import os
import signal
from collections.abc import Sequence
from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import Slot

NAME: Final = "courier-stacks"
SIGNAL: Final = signal.SIGRTMIN
ANSWER_SECONDS: Final = 1.0
SILENCE: Final = "the process is stopped, or hangs in a system call or an extension"
"""Why a process may not answer."""

_POLL_SECONDS: Final = 0.02


def make_file() -> int:
    """Return the descriptor of a file for the stacks of a process, which inherits it; -1 if the system has no memfd."""
    try:
        file = os.memfd_create(NAME)
    except (AttributeError, OSError):
        return -1
    # A reader empties the file before it asks; in append mode the next print starts at the beginning.
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    return file


def offer_stacks(slot: Slot, file: int) -> None:
    """Write on the board that this process prints its stacks to ``file`` on SIGRTMIN, if there is one."""
    if file != -1:
        slot.words[scoreboard.STACKS] = file


def print_stacks(file: int) -> None:
    """Print the stacks of all threads of this process to ``file``, if there is one."""
    if file != -1:
        faulthandler.dump_traceback(file, all_threads=True)


def print_stacks_on_signal(file: int) -> None:
    """Start a thread that prints the stacks to ``file`` on each SIGRTMIN. The caller has blocked the signal."""
    if file != -1:
        # Without an object of threading.Thread, see courier.process.child.
        _thread.start_new_thread(_answer, (file,))


def _answer(file: int) -> None:
    while True:
        signal.sigwait({SIGNAL})
        print_stacks(file)


def size_of(file: int) -> int:
    """Return the bytes in a file of stacks."""
    return os.fstat(file).st_size


def take(file: int) -> str:
    """Return the text in a file and empty it."""
    text = os.pread(file, size_of(file), 0).decode(errors="replace")
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
    return text


async def dumps(slots: Sequence[Slot]) -> list[tuple[Slot, int, str]]:
    """Return slot, pid and stacks of the processes in ``slots``; a line says why if there are no stacks.

    Slots without a process are left out. Only one caller at a time is allowed: two would empty each other's files.
    """
    asked = [(slot, slot.words[scoreboard.PID], _ask(slot)) for slot in slots if slot.words[scoreboard.PID]]
    try:
        await _wait([file for _, _, file in asked if file != -1])
        return [(slot, pid, _read(file)) for slot, pid, file in asked]
    finally:
        for _, _, file in asked:
            if file != -1:
                os.close(file)


def _ask(slot: Slot) -> int:
    """Open the file of a process, empty it and signal the process. Return the file; -1 if that is impossible."""
    pid, number = slot.words[scoreboard.PID], slot.words[scoreboard.STACKS]
    if not number:
        return -1
    file = -1
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
    try:
        # The signal kills a process that doesn't expect it, and the pid may belong to another program by now. A process
        # with Courier's file at that number handles the signal, and never reuses the number.
        path = f"/proc/{pid}/fd/{number}"
        if not os.readlink(path).startswith(f"/memfd:{NAME}"):
            return -1
        file = os.open(path, os.O_RDWR)
        os.ftruncate(file, 0)
        signal.pidfd_send_signal(process, SIGNAL)
        asked, file = file, -1
        return asked
    except OSError:
        return -1
    finally:
        os.close(process)
        if file != -1:
            os.close(file)


async def _wait(files: Sequence[int]) -> None:
    """Wait until the files stop growing, because a dump has no end mark."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWER_SECONDS
    sizes: list[int] = []
    while loop.time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        before, sizes = sizes, [size_of(file) for file in files]
        if sizes == before and all(sizes):
            return


def _read(file: int) -> str:
    if file == -1:
        return "not available: the process is starting or ending, or this process can't read /proc"
    return (
        take(file)
        or f"no answer within {ANSWER_SECONDS:g} s: the process is stopped, or hangs in a system call or an extension"
    )
