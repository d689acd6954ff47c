"""Short-lived children of the auditor for its chores: what compresses or uploads a sealed segment.

A child is another Python, so that its memory and its libraries go with it. Its standard input is its lifeline: the
auditor alone holds the other end, and the child ends when that closes. So a child outlives no auditor, however that
dies. The child prints its result as a line of JSON, or the reason of its failure as a line on stderr.

:class:`ChoreChild` is the auditor's side, :mod:`courier.audit.chore_work` the child's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import subprocess

POLL_SECONDS: Final = 0.05
"""Seconds between two checks of a child."""

MOST_OUTPUT: Final = 64 * 1024
"""Bytes that are kept of what a child prints to each stream: the last ones."""

PYTHON: Final = (sys.executable, "-P", "-S")
"""-P: nothing is imported from the working directory, which may be anyone's. -S: the search for packages takes half the
time of a start, and the child has the auditor's paths."""

_PACKAGES: Final = str(Path(__file__).parents[2])


def start_python(
    command: Sequence[str], fds: Sequence[int] = (), environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command that begins with PYTHON, with a pipe for each of its standard streams; raise OSError.

    It inherits ``fds`` and the auditor's variables, in addition to those of ``environment``.
    """
    # Imported here: the auditor needs it late, and a child doesn't.
    import subprocess

    paths = [_PACKAGES, *filter(None, sys.path)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=fds,
        env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(paths)},
    )


class ChoreResult(NamedTuple):
    """How a child ended: the fields that it printed, or the line that says why there are none."""

    fields: Mapping[str, Any] | None
    reason: str = ""


class ChoreChild:
    """A child at work, started by the constructor. All calls come from one thread and return at once."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        deadline_seconds: float,
        *,
        fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start ``python -m module arguments``, which inherits ``fds``; raise OSError if that is impossible.

        It is killed after ``deadline_seconds``. ``environment`` are variables in addition to the auditor's.
        """
        self._clock = clock
        self._deadline = clock() + deadline_seconds
        self._deadline_seconds = deadline_seconds
        self._process = start_python([*PYTHON, "-m", module, *arguments], fds, environment)
        self._output = {"out": bytearray(), "err": bytearray()}
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> ChoreResult | None:
        """Return how it ended, or ``None`` while it works. It is killed if its deadline is past."""
        self._read()
        if self._process.poll() is None:
            if self._clock() < self._deadline:
                return None
            self.end()
            return ChoreResult(None, f"it was killed because it took longer than {self._deadline_seconds:g} seconds")
        self._read()
        self._close()
        return self._result(self._process.returncode)

    def end(self) -> None:
        """Kill it, if it still works."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._close()

    def _result(self, code: int) -> ChoreResult:
        if code < 0:
            return ChoreResult(None, f"it was killed by {signal.Signals(-code).name}")
        if code == 0:
            with suppress(ValueError):
                fields = json.loads(self._output["out"])
                if isinstance(fields, dict):
                    return ChoreResult(fields)
        lines = self._output["err"].decode("utf-8", "replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ChoreResult(None, said or f"it ended with exit code {code} and said nothing")

    def _read(self) -> None:
        self._take(self._process.stdout, self._output["out"])
        self._take(self._process.stderr, self._output["err"])

    def _take(self, stream: IO[bytes] | None, into: bytearray) -> None:
        assert stream is not None
        if stream.closed:
            return
        with suppress(BlockingIOError):
            while piece := os.read(stream.fileno(), MOST_OUTPUT):
                into += piece
                del into[:-MOST_OUTPUT]

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
