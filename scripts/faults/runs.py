"""The trials of a run, each in a process of its own, so that none disturbs the next; some run at the same time."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from scripts.faults import lifeline
from scripts.faults.fault import Row
from scripts.faults.record import Record

RECORD: Final = "result.json"
LOG: Final = "trial.log"
SPARE_SECONDS: Final = 600.0
"""A trial that takes this much longer than its load and its faults hangs."""

END_SECONDS: Final = 30.0
TAIL: Final = 2000


class Run(NamedTuple):
    """A trial that is to run: a row under a seed, in full length or not, against a program, below ``output``."""

    row: Row
    program: str
    seed: int
    full: bool
    judge_stall: bool
    output: Path

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self.output / (self.row.name if self.program == "courier" else f"{self.row.name}.{self.program}")

    @property
    def arguments(self) -> list[str]:
        """The arguments of ``python -m scripts.faults run`` and ``trial`` that choose it."""
        chosen = ["--only", self.row.name, "--seed", str(self.seed)]
        chosen += ["--full"] if self.full else []
        return chosen + ([] if self.program == "courier" else ["--program", self.program])

    @property
    def command(self) -> str:
        """The command that runs it again, without touching the files of this run."""
        again = ["--output", str(self.output / "again")]
        return shlex.join(["python", "-m", "scripts.faults", "run", *self.arguments, *again])

    @property
    def scaled(self) -> Row:
        """The row in the requested length, with the seed."""
        return ((self.row.full or self.row) if self.full else self.row).seeded(self.seed)

    @property
    def patience(self) -> float:
        """Seconds after which the trial counts as hung."""
        row = self.scaled
        sending = row.workload.messages / row.workload.rate if row.workload.rate else 0.0
        faults = max((f.at + f.times * (f.every + f.lasts) for f in row.all_faults), default=0.0)
        return 3 * (sending + faults) + row.settle_seconds + SPARE_SECONDS


class Runs:
    """Runs trials, ``jobs`` at the same time. Leaving the context stops those that still run.

    With ``keep``, the files of rows that held stay too.
    """

    def __init__(self, jobs: int, *, keep: bool = False) -> None:
        self._keep: Final = keep
        self._pool: Final = ThreadPoolExecutor(jobs)
        self._lock: Final = threading.Lock()
        self._running: Final[set[subprocess.Popen[bytes]]] = set()
        self._stopped = False

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def records(self, runs: Iterable[Run]) -> Iterator[tuple[Run, Record]]:
        """Run the trials, and yield each with its record as it ends."""
        futures = {self._pool.submit(self.execute, run): run for run in runs}
        for future in as_completed(futures):
            record, run = future.result(), futures[future]
            if record.held and not self._keep:
                shutil.rmtree(run.directory, ignore_errors=True)
            yield run, record

    def execute(self, run: Run) -> Record:
        """Run one trial in its own process, and return its record."""
        shutil.rmtree(run.directory, ignore_errors=True)
        run.directory.mkdir(parents=True)
        command = [sys.executable, "-m", "scripts.faults", "trial", *run.arguments, "--output", str(run.output)]
        command += [] if run.judge_stall else ["--ignore-stalls"]
        code = self._wait_for(command, run.directory / LOG, run.patience)
        with suppress(OSError, ValueError):
            return Record.read(run.directory / RECORD)
        log = (run.directory / LOG).read_text(errors="replace")[-TAIL:].strip()
        return Record.of_failure(run.scaled, run.program, f"the trial ended with {code} and no result: {log}")

    def _wait_for(self, command: Sequence[str], log: Path, seconds: float) -> int | str:
        with log.open("wb") as output, self._lock:
            if self._stopped:
                return "no start"
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
            lifeline.hold(process.pid)
            self._running.add(process)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # it stops its programs, as it does at every exit
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            process.kill()
            process.wait()
            return f"a time-out after {seconds:.0f} s"
        finally:
            with self._lock:
                self._running.discard(process)
            lifeline.release(process.pid)
