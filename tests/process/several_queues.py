"""A program of several queues: its file, its processes by queue, and its control socket."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from courier.audit.reader import read_records
from courier.config.config import OPTIONS
from courier.config.queues import OF_PROGRAM
from tests.process.steered import Steered
from tests.process.world import START_SECONDS, Courier, Queue, alive, children, title, until


class Program(Courier):
    """A run of ``python -m courier --config`` with a table for each queue, by name."""

    def __init__(
        self,
        directory: Path,
        recipient: str,
        queues: Mapping[str, Queue],
        *options: str,
        **above: Any,
    ) -> None:
        self.file = directory / "courier.toml"
        self.directory = directory
        self.above = {"wait-time": 1, **above}
        self.tables: dict[str, dict[str, Any]] = {name: {"queue": queue.name} for name, queue in queues.items()}
        self.write()
        endpoint = next(iter(queues.values())).endpoint
        self.steered = Steered(directory / "run" / "control.sock")
        options = (f"--config={self.file}", f"--control={self.steered.path}", *options)
        super().__init__(
            "", recipient, directory, *options, endpoint=endpoint, COURIER_API="" if "api" in above else "none"
        )

    def write(self, **tables: dict[str, Any] | None) -> None:
        """Write the file again, with other keys in some of the tables; None takes a table out."""
        for name, keys in tables.items():
            if keys is None:
                del self.tables[name]
            else:
                self.tables[name] = {**self.tables.get(name, {}), **keys}
        lines = [f"{key} = {_toml(value)}" for key, value in self.above.items()]
        for name, keys in self.tables.items():
            lines += ["[[queue]]", f'name = "{name}"', *(f"{key} = {_toml(value)}" for key, value in keys.items())]
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.rename(self.file)

    def wait_until_all_run(self, *names: str) -> Program:
        """Wait until the queues, or all of them, are ready."""
        wanted = names or tuple(self.tables)

        def run() -> bool:
            assert self.process.poll() is None, self.log()
            return all(self.lines("event=ready", f"queue={name}") for name in wanted)

        until(run, START_SECONDS, self.log)
        return self

    def lines(self, *words: str) -> list[str]:
        """Return the lines of the log that have all of these words."""
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def supervisor(self, name: str) -> int:
        """Return the pid of the supervisor of a queue, 0 if there is none."""
        found = [pid for pid in children(self.pid) if title(pid) == f"courier: {name}"]
        return found[0] if found else 0

    def workers(self, name: str) -> list[int]:
        """Return the pids of the workers of a queue."""
        supervisor = self.supervisor(name)
        return children(supervisor) if supervisor else []

    def replace(self, name: str, number: signal.Signals, *, whole: bool = False) -> None:
        """Send a signal to the supervisor of a queue, or to all of its processes, and wait until another one runs."""
        before = self.supervisor(name)
        (os.killpg if whole else os.kill)(before, number)
        until(lambda: self.supervisor(name) not in (0, before), START_SECONDS, self.log)

    def of(self, name: str) -> list[int]:
        """Return all processes of a queue, whoever is their parent."""
        found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _session(int(path.name)) == self.pid]
        mine = f"courier: {name}"
        return [pid for pid in found if (text := title(pid)) == mine or text.startswith(f"{mine} ")]

    def recorded_of(self, name: str) -> Counter[str]:
        """Count the audit records of a queue by message id."""
        path = self.directory / "queues" / name / "audit"
        return Counter(record.message_id for record in read_records(path)) if path.exists() else Counter()

    def kill(self) -> None:
        """End all processes, whatever state they are in."""
        groups = [pid for name in self.tables for pid in [self.supervisor(name)] if pid]
        super().kill()
        for group in groups:
            if alive(group):
                os.killpg(group, signal.SIGKILL)


class AmongOthers(Courier):
    """A run whose options are those of one table of two; what is asked of it is asked of that queue."""

    NAME = "drawn"

    def __init__(self, queue: str, url: str, directory: Path, *flags: str, endpoint: str) -> None:
        by_flag = {option.flag: (name, option) for name, option in OPTIONS.items()}
        above: list[str] = []
        own = [f"queue = {queue!r}"]
        for flag, value in _pairs(flags):
            name, option = by_flag[flag]
            written: object = [value] if option.repeated else value
            (above if name in OF_PROGRAM else own).append(f"{option.key} = {_toml(written)}")
        tables = [
            "[[queue]]",
            "name = 'beside'",
            "queue-type = 'nop'",
            "endpoint-url = ''",
            "[[queue]]",
            f"name = '{self.NAME}'",
            *own,
        ]
        file = directory / "courier.toml"
        file.write_text("\n".join([*above, *tables]) + "\n")
        super().__init__("", url, directory, f"--config={file}", endpoint=endpoint)
        self.audit = directory / "queues" / self.NAME / "audit"

    def pids(self, role: str) -> list[int]:
        """Return the pids of the workers of a role of that queue."""
        supervisors = [pid for pid in children(self.pid) if title(pid) == f"courier: {self.NAME}"]
        workers = [pid for supervisor in supervisors for pid in children(supervisor)]
        return sorted(pid for pid in workers if title(pid).startswith(f"courier: {self.NAME} {role}"))


def _pairs(flags: Sequence[str]) -> Iterator[tuple[str, str | bool]]:
    """Yield each flag with its value; a bare flag means true."""
    for flag, value in zip(flags, [*flags[1:], "--"], strict=True):
        if flag.startswith("--"):
            yield flag, True if value.startswith("--") else value


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
