"""The auditor's end of the child that uploads. Nothing here blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

import orjson

from courier.audit.archive_failure import CHILD, ArchiveFailure
from courier.audit.archive_place import ArchiveSettings
from courier.audit.chore_child import PYTHON, start_python

if TYPE_CHECKING:
    import subprocess

COMMAND: Final = (*PYTHON, "-m", "courier.audit.archive_child")

_MOST_WORDS: Final = 4096
"""Bytes kept of what the child says on its standard error."""

_LONGEST_LINE: Final = 1024 * 1024

_SHORTAGE: Final = "give this machine or unit more processes and memory (TasksMax, MemoryMax)"
_ENDED: Final = "nothing at first, it is started again, but if it lasts, look at dmesg for an OOM kill"
_HUNG: Final = "check the network to S3, or lower --audit-max-bytes"


class ArchiveProcess:
    """A child that does one job at a time. It is started for a job, and stays until :meth:`end`."""

    def __init__(
        self,
        settings: ArchiveSettings,
        clock: Callable[[], float] = time.monotonic,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._clock = clock
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._ended: list[subprocess.Popen[bytes]] = []
        self._deadline: float | None = None
        self._out = b""
        self._words = b""

    @property
    def pid(self) -> int | None:
        """The process, or ``None`` if there is none."""
        return None if self._child is None else self._child.pid

    @property
    def is_busy(self) -> bool:
        """Whether a job has been given that isn't answered."""
        return self._deadline is not None

    def give(self, job: Mapping[str, Any], seconds: float) -> ArchiveFailure | None:
        """Give the child a job, which may take so many seconds. Return the failure if it can't be given."""
        self._deadline = self._clock() + seconds
        try:
            if self._child is None:
                self._start()
            self._send(job)
        except OSError as error:
            return self._failed(f"cannot start the process that uploads: {error.strerror}", _SHORTAGE)
        return None

    def poll(self) -> dict[str, Any] | ArchiveFailure | None:
        """Return the answer to the job, ``None`` while there is none, or why there won't be one."""
        self._reap()
        child = self._child
        if child is None or self._deadline is None:
            return None
        assert child.stdout is not None
        assert child.stderr is not None
        self._out += _read(child.stdout)
        self._words = (self._words + _read(child.stderr))[-_MOST_WORDS:]
        if b"\n" in self._out:
            line, _, self._out = self._out.partition(b"\n")
            self._deadline = None
            return self._read_answer(line)
        if child.poll() is not None:
            return self._failed(f"the process that uploads ended without an answer ({self._reason(child)})", _ENDED)
        if self._clock() >= self._deadline or len(self._out) > _LONGEST_LINE:
            return self._failed("the upload took too long and was stopped", _HUNG)
        return None

    def end(self) -> None:
        """Stop the child at once, if there is one. A job that isn't answered is lost."""
        child, self._child, self._deadline, self._out = self._child, None, None, b""
        if child is None:
            return
        # Never waited for here: it may hang in the kernel.
        with suppress(OSError):
            child.kill()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._ended.append(child)
        self._reap()

    def _start(self) -> None:
        child = start_python(self._command)
        self._child, self._words = child, b""
        for pipe in (child.stdin, child.stdout, child.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._send({**self._settings._asdict(), "directory": str(self._settings.directory.absolute())})

    def _send(self, line: Mapping[str, Any]) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        # A pipe takes at least 4 KiB at once, and a job is smaller.
        self._child.stdin.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def _read_answer(self, line: bytes) -> dict[str, Any] | ArchiveFailure:
        answer = orjson.loads(line)
        return ArchiveFailure(**answer) if "kind" in answer else dict(answer)

    def _failed(self, reason: str, remedy: str) -> ArchiveFailure:
        self.end()
        return ArchiveFailure(CHILD, f"{reason}; {remedy}")

    def _reason(self, child: subprocess.Popen[bytes]) -> str:
        last = self._words.decode(errors="replace").strip().rpartition("\n")[2]
        return last.replace("; ", ", ") or f"exit code {child.returncode}"

    def _reap(self) -> None:
        self._ended = [child for child in self._ended if child.poll() is None]


def _read(pipe: IO[bytes]) -> bytes:
    pieces = []
    with suppress(BlockingIOError):
        while piece := os.read(pipe.fileno(), 65536):
            pieces.append(piece)
    return b"".join(pieces)
