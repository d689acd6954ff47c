"""The recovery of a predecessor's audit files: it cuts off torn last lines and reports damage before them.

A record becomes durable as a whole line, and a message is deleted only after that. So the message of a torn last line
wasn't deleted, and the line may go. Damage before the last line is different: those records were durable once. Courier
reports it with file and offset but changes nothing, because a repair would hide it.

The auditor never appends to these files, so it can start before the recovery. A low-priority thread does the recovery
in the background, in small pieces.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from courier.audit.advice import BY_ERRNO, advice
from courier.audit.reader import DAMAGE_ADVICE, DAMAGED, damage, record_test
from courier.audit.regular_file import irregularity, open_regular
from courier.audit.segment import LONGEST_LINE, PACKINGS
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

BLOCK: Final = 128 * 1024
"""Bytes of one read; a pause follows each."""

BACKWARDS: Final = 1024 * 1024
"""Bytes of one read in the search for the last newline, which is faster."""

PAUSE_SECONDS: Final = 0.02
"""Seconds between two blocks. A block takes a millisecond or two, so the recovery uses at most a tenth of a core."""

FILES_AT_ONCE: Final = 64
"""Files whose ends are checked between two pauses."""

MOST_LINES: Final = 10
"""Maximum log lines of each kind; further events are counted."""

LOWEST_PRIORITY: Final = 19

_CRASH: Final = "a process or the machine stopped in the middle of a record"
_NOTHING: Final = "nothing: the message was not deleted; it is delivered and recorded again"

Pause = Callable[[], bool]
"""Pauses; returns ``True`` if the recovery should stop."""


def no_pause() -> bool:
    """Continue without a pause."""
    return False


def recover(files: Sequence[Path], pause: Pause = no_pause, on_damage: Callable[[], None] = lambda: None) -> None:
    """Cut off the torn last lines of audit files, and report damage that a crash may have left in them.

    ``files`` are the files that no longer grow, oldest first; the newest is checked first. Only that one and those with
    a torn end are read completely, because a crash can damage nothing else. Call ``on_damage`` for each damaged line.
    Log and skip files that can't be read or cut, or that aren't regular files with one name. If the recovery is killed,
    the next one finds everything again. The caller must hold the lock of the directory.
    """
    lines = _log_lines()
    try:
        _recover(files, pause, on_damage, lines)
    finally:
        for line in lines:
            line.report(rest=True)


class _LogLines(NamedTuple):
    """The log lines of one recovery. The first of each kind are logged one by one, then only their count."""

    strange: RecurringLine
    unreadable: RecurringLine
    removed: RecurringLine
    cut: RecurringLine
    damaged: RecurringLine
    ruined: RecurringLine


def _log_lines() -> _LogLines:
    def line(event: str) -> RecurringLine:
        return RecurringLine(log, "warning", event, at_once=MOST_LINES)

    return _LogLines(
        strange=line("ignored a file that is not a plain audit file"),
        unreadable=line("cannot check an audit file; it is left as it is"),
        removed=line("removed an audit file without a whole line"),
        cut=line("cut off the torn last line of an audit file"),
        damaged=line(DAMAGED),
        ruined=line("the audit log is damaged in many lines; they are left as they are"),
    )


def _recover(files: Sequence[Path], pause: Pause, on_damage: Callable[[], None], lines: _LogLines) -> None:
    for number, path in enumerate(reversed([file for file in files if file.suffix not in PACKINGS])):
        if number % FILES_AT_ONCE == FILES_AT_ONCE - 1 and pause():
            return
        with _log_errors(path, lines.unreadable):
            if reason := irregularity(path.lstat()):
                lines.strange(
                    reason,
                    file=str(path),
                    reason=reason,
                    advice=BY_ERRNO[errno.EINVAL],
                )
            elif _cut_torn_line(path, pause, lines) or number == 0:
                _scan(path, pause, on_damage, lines)


@contextmanager
def _log_errors(path: Path, line: RecurringLine) -> Iterator[None]:
    """Log an error about a file, and continue with the next one."""
    try:
        yield
    except FileNotFoundError:
        # A program that cleans up the directory removed it.
        return
    except OSError as error:
        line(
            error.errno,
            file=str(path),
            reason=error.strerror,
            advice=advice(error),
        )


class Recovery:
    """A thread that runs :func:`recover` until :meth:`stop` or the end of the process."""

    def __init__(self, find: Callable[[], Sequence[Path]], on_damage: Callable[[], None]) -> None:
        """``find`` returns the files. The thread calls it too, because listing a large directory takes a while."""
        self._find = find
        self._on_damage = on_damage
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current block, without waiting for it."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the thread, up to ``seconds``; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):
            # On Linux each thread has a separate priority.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        try:
            recover(self._find(), lambda: self._stop.wait(PAUSE_SECONDS), self._on_damage)
        except OSError as error:
            log.warning("cannot check the audit files that are there", reason=error.strerror, advice=advice(error))


def _cut_torn_line(path: Path, pause: Pause, lines: _LogLines) -> bool:
    """Cut off a torn last line, or remove a file without any whole line; return whether a line was cut off."""
    fd = open_regular(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        end = _end_of_records(fd, size, record_test(path), pause)
    finally:
        os.close(fd)
    if end is None or (end == size and size):
        return False
    if end == 0:
        # No record in it was ever durable.
        path.unlink()
        lines.removed(None, file=str(path), size=size, reason=_CRASH, advice=_NOTHING)
        return False
    fd = open_regular(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, end)
        os.fsync(fd)
    finally:
        os.close(fd)
    lines.cut(
        None,
        file=str(path),
        offset=end,
        bytes_cut=size - end,
        reason=_CRASH,
        advice=_NOTHING,
    )
    return True


def _end_of_records(fd: int, size: int, is_record: Callable[[bytes], bool], pause: Pause) -> int | None:
    """Return the end of the last whole record, searching backwards; ``None`` if stopped before."""
    end = _after_newline(fd, size, pause)
    if not end:
        return end
    start = _after_newline(fd, end - 1, pause, at_least=max(0, end - LONGEST_LINE))
    if start is None:
        return None
    if end - start >= LONGEST_LINE:
        # Too long to read; the scan reports it as damage.
        return end
    return end if is_record(_read(fd, start, end)) else start


def _after_newline(fd: int, end: int, pause: Pause, at_least: int = 0) -> int | None:
    """Return the offset after the last newline between ``at_least`` and ``end``, or ``at_least`` if there is none.

    Return ``None`` if stopped before.
    """
    while end > at_least:
        start = max(at_least, (end - 1) // BACKWARDS * BACKWARDS)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
        if end > at_least and pause():
            return None
    return at_least


def _read(fd: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(fd, min(BLOCK, end - start), start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _scan(path: Path, pause: Pause, on_damage: Callable[[], None], lines: _LogLines) -> None:
    """Report each line that isn't a record."""
    is_record = record_test(path)
    fd = open_regular(path, os.O_RDONLY)
    damaged = 0
    try:
        for offset, line in _lines(fd, pause):
            if line is None or not is_record(line):
                damaged += 1
                on_damage()
                if damaged <= MOST_LINES:
                    lines.damaged(None, **damage(path, offset))
    finally:
        os.close(fd)
    if damaged > MOST_LINES:
        lines.ruined(
            None,
            file=str(path),
            lines=damaged,
            reason="they are neither records nor lines torn by a crash",
            advice=DAMAGE_ADVICE,
        )


def _lines(fd: int, pause: Pause) -> Iterator[tuple[int, bytes | None]]:
    """Yield a file's lines with their offsets in bounded memory; ``None`` stands for a line that is too long."""
    start = at = 0
    rest = b""
    too_long = False
    while block := os.pread(fd, BLOCK, at):
        begin = 0
        while (newline := block.find(b"\n", begin)) >= 0:
            yield start, None if too_long else rest + block[begin : newline + 1]
            begin = newline + 1
            start = at + begin
            rest, too_long = b"", False
        rest = b"" if too_long else rest + block[begin:]
        if len(rest) > LONGEST_LINE:
            rest, too_long = b"", True
        at += len(block)
        if pause():
            return
    if start < at:
        yield start, None if too_long else rest
