"""The recovery of a predecessor's audit files: it cuts off torn last lines, reports damage before them, and counts.

A record becomes durable as a whole line, and a message is deleted only after that. So the message of a torn last line
wasn't deleted, and the line may go. Damage before the last line is different: those records were durable once. Courier
reports it with file and offset but changes nothing, because a repair would hide it.

The auditor never appends to these files, so it can start before the recovery. A thread does the recovery in the
background, in small pieces.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from courier.audit.advice import BY_ERRNO, advice
from courier.audit.reader import DAMAGE_ADVICE, DAMAGED, damage, record_test
from courier.audit.regular_file import irregularity, open_regular
from courier.audit.segment import JSON_LINES, LONGEST_LINE, PACKINGS
from courier.audit.tally import Tally, joined_range
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

BLOCK: Final = 128 * 1024
"""Bytes of one read; a pause follows each."""

BACKWARDS: Final = 1024 * 1024
"""Bytes of one read in the search for the last newline, which is faster."""

PAUSE_SECONDS: Final = 0.015
"""Seconds between two blocks. A block takes a millisecond or two, so the recovery uses about a tenth of a core, and
256 MiB take about half a minute."""

FILES_AT_ONCE: Final = 64
"""Files whose ends are checked between two pauses."""

MOST_LINES: Final = 10
"""Maximum log lines of each kind; further events are counted."""

_CRASH: Final = "a process or the machine stopped in the middle of a record"
_NOTHING: Final = "nothing: the message was not deleted; it is delivered and recorded again"

Pause = Callable[[], bool]
"""Pauses; returns ``True`` if the recovery should stop."""


def no_pause() -> bool:
    """Continue without a pause."""
    return False


def recover(
    files: Sequence[Path],
    pause: Pause = no_pause,
    on_damage: Callable[[], None] = lambda: None,
    *,
    reads_newest: bool = True,
) -> None:
    """Cut off the torn last lines of audit files, and report damage that a crash may have left in them.

    ``files`` are the files that no longer grow, oldest first; the newest is checked first. Only that one, with
    ``reads_newest``, and those with a torn end are read completely, because a crash can damage nothing else. Call
    ``on_damage`` for each damaged line. Log and skip files that can't be read or cut, or that aren't regular files with
    one name. If the recovery is killed, the next one finds everything again. The caller must hold the lock of the
    directory.
    """
    with log_lines() as lines:
        for number, path in enumerate(reversed([file for file in files if file.suffix not in PACKINGS])):
            if number % FILES_AT_ONCE == FILES_AT_ONCE - 1 and pause():
                return
            with _log_errors(path, lines.unreadable):
                if is_strange(path, lines):
                    continue
                if cut_torn_line(path, pause, lines) or (number == 0 and reads_newest):
                    count(path, pause, on_damage, lines)


class LogLines(NamedTuple):
    """The log lines of one recovery. The first of each kind are logged one by one, then only their count."""

    strange: RecurringLine
    unreadable: RecurringLine
    cut: RecurringLine
    damaged: RecurringLine
    ruined: RecurringLine


@contextmanager
def log_lines() -> Iterator[LogLines]:
    """Yield the log lines of a recovery, and log what they have counted at the end of the ``with`` block."""
    lines = _log_lines()
    try:
        yield lines
    finally:
        for line in lines:
            line.report(rest=True)


def _log_lines() -> LogLines:
    def line(event: str) -> RecurringLine:
        return RecurringLine(log, "warning", event, at_once=MOST_LINES)

    return LogLines(
        strange=line("ignored a file that is not a plain audit file"),
        unreadable=line("cannot check an audit file; it is left as it is"),
        cut=line("cut off the torn last line of an audit file"),
        damaged=line(DAMAGED),
        ruined=line("the audit log is damaged in many lines; they are left as they are"),
    )


def is_strange(path: Path, lines: LogLines) -> bool:
    """Return whether a file isn't a regular one with one name, and log it; raise OSError."""
    reason = irregularity(path.lstat())
    if reason:
        lines.strange(reason, file=str(path), reason=reason, advice=BY_ERRNO[errno.EINVAL])
    return bool(reason)


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


def cut_torn_line(path: Path, pause: Pause, lines: LogLines, sealed: int = 0) -> bool | None:
    """Cut off a torn last line, and return whether there was one; ``None`` if stopped before. Raise OSError.

    ``sealed`` is the offset of the last checkpoint: what damages the bytes before it was no crash, so they stay.
    """
    fd = open_regular(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        end = _end_of_records(fd, size, record_test(path), pause)
    finally:
        os.close(fd)
    if end is None:
        return None
    end = max(end, min(sealed, size))
    if end == size:
        return False
    cut(path, end)
    lines.cut(
        None,
        file=str(path),
        offset=end,
        bytes_cut=size - end,
        reason=_CRASH,
        advice=_NOTHING,
    )
    return True


def cut(path: Path, end: int) -> None:
    """Cut a file at an offset durably; raise OSError."""
    fd = open_regular(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, end)
        os.fsync(fd)
    finally:
        os.close(fd)


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


def count(path: Path, pause: Pause, on_damage: Callable[[], None], lines: LogLines) -> Tally | None:
    """Return the tally of a file, and report each line that isn't a record; ``None`` if stopped before."""
    is_record = record_test(path)
    fd = open_regular(path, os.O_RDONLY)
    digest = sha256()
    offset = records = damaged = 0
    first = last = b""
    try:
        for batch, block in _batches(fd):
            digest.update(block)
            records += block.count(b"\n")
            offset += len(block)
            for start, line in batch:
                if line is None or not is_record(line):
                    damaged += 1
                    on_damage()
                    if damaged <= MOST_LINES:
                        lines.damaged(None, **damage(path, start))
            timed = [line for _, line in batch if line is not None] if path.suffix == JSON_LINES else []
            if timed:
                first, last = joined_range(first, last, timed)
            if pause():
                return None
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
    return Tally(offset, records, digest, first, last)


def _batches(fd: int) -> Iterator[tuple[list[tuple[int, bytes | None]], bytes]]:
    """Yield a file's lines with their offsets, and the block in which they end, in bounded memory.

    ``None`` stands for a line that is too long. The last block is empty; with it comes a line without an end.
    """
    start = at = 0
    rest = b""
    too_long = False
    while block := os.pread(fd, BLOCK, at):
        batch: list[tuple[int, bytes | None]] = []
        begin = 0
        while (newline := block.find(b"\n", begin)) >= 0:
            batch.append((start, None if too_long else rest + block[begin : newline + 1]))
            begin = newline + 1
            start = at + begin
            rest, too_long = b"", False
        rest = b"" if too_long else rest + block[begin:]
        if len(rest) > LONGEST_LINE:
            rest, too_long = b"", True
        at += len(block)
        yield batch, block
    if start < at:
        yield [(start, None if too_long else rest)], b""
