"""Two queues in one program: each has a world of its own, with its own recipient, load and faults.

Both worlds see the same program, each as far as it is about its queue: the supervisor is that of the queue, and so are
the workers. The program ends when both loads have ended.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from scripts.faults.disk import Disk
from scripts.faults.fault import Row
from scripts.faults.instance import Instance
from scripts.faults.process_tree import title
from scripts.faults.program import Adapter, ProgramFailed, Setting
from scripts.faults.world import World

STEADY: Final = "steady"
STRUCK: Final = "struck"
"""The names of the tables: of the queue that nothing happens to, and of the other."""

DIRECTORY: Final = "struck"
TOGETHER_SECONDS: Final = 600.0
"""Seconds that one queue waits at its end for the load and the faults of the other."""

T = TypeVar("T")


class SeveralQueues:
    """The program of several queues. As the adapter of a world, :meth:`of` notes a queue, and starts nothing."""

    def __init__(self, adapter: Adapter, directory: Path) -> None:
        self.file: Final = directory / "courier.toml"
        self.ended: Final = threading.Barrier(2)
        self._adapter = adapter
        self._directory = directory
        self._settings: dict[str, Setting] = {}
        self._instance: Instance | None = None
        self._draining = threading.Lock()
        self._told_to_end = False

    @property
    def instance(self) -> Instance:
        """The program, once it runs."""
        assert self._instance is not None, "the program has not been started"
        return self._instance

    @property
    def is_started(self) -> bool:
        """Whether it has been started."""
        return self._instance is not None

    def of(self, name: str) -> Adapter:
        """Return the adapter of the world of a queue."""
        return QueueAdapter(self, name, self._adapter)

    def add(self, name: str, setting: Setting) -> None:
        """Note a queue, before the start."""
        self._settings[name] = setting

    def start(self) -> None:
        """Start it with the queues that were added."""
        first = next(iter(self._settings.values()))
        self.write({})
        environment = {**first.environment, "COURIER_CONFIG": str(self.file), "COURIER_QUEUE": ""}
        self._instance = self._adapter.start(
            replace(first, directory=self._directory, options=(), environment=environment)
        )

    def write(self, extra: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the file again; ``extra`` has further keys for tables, by name."""
        lines = []
        for name, setting in self._settings.items():
            keys = {
                "name": name,
                "queue": setting.queue_url,
                "recipient-url": setting.recipient_url,
                "endpoint-url": setting.sqs_url,
                "audit-path": str(setting.audit),
                **_keys(setting.options),
                **extra.get(name, {}),
            }
            # What JSON writes of strings and numbers is TOML, too.
            lines += ["[[queue]]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.rename(self.file)

    def reload(self) -> None:
        """Let it read the file again."""
        self.instance.signal(signal.SIGHUP)

    def drain(self, seconds: float) -> int:
        """Tell it to end once all queues are done, and return its exit code; raise ProgramFailed."""
        try:
            self.ended.wait(TOGETHER_SECONDS)
        except threading.BrokenBarrierError:
            raise ProgramFailed("the trial of the other queue was given up") from None
        with self._draining:
            if not self._told_to_end:
                self._told_to_end = True
                self.instance.signal(signal.SIGTERM)
            return self.instance.wait(seconds)


class QueueAdapter:
    """The program as the world of one queue starts it."""

    def __init__(self, several: SeveralQueues, queue: str, adapter: Adapter) -> None:
        self.name: Final = adapter.name
        self.audits: Final = adapter.audits
        self._several = several
        self._queue = queue

    def start(self, setting: Setting) -> Instance:
        """Note the queue; the program starts when both worlds are there."""
        self._several.add(self._queue, setting)
        return QueueInstance(self._several, self._queue)


class QueueInstance(Instance):
    """One queue of the program: what a fault may do to its processes."""

    restarts_itself = True

    def __init__(self, several: SeveralQueues, queue: str) -> None:
        self.name = f"queue {queue}"
        self.several: Final = several
        self._queue = queue

    @property
    def pid(self) -> int:
        """The pid of the first process."""
        return self.several.instance.pid

    @property
    def alive(self) -> bool:
        """Whether the first process runs."""
        return self.several.instance.alive

    def is_ready(self) -> bool:
        """Return whether this queue has begun to ask for messages."""
        return bool(self.lines("event=ready"))

    def lines(self, *words: str) -> list[str]:
        """Return the lines of the log about this queue that have all of these words."""
        wanted = (f"queue={self._queue}", *words)
        return [line for line in self.log().splitlines() if all(word in line for word in wanted)]

    def pids(self, role: str) -> list[int]:
        """Return the living processes of a role: of its supervisor, or of its workers."""
        if not self.several.is_started:
            return []
        beginning = f"courier: {self._queue}"
        # A child that has just been forked has the title of its parent; the supervisor is the oldest.
        supervisor = [pid for pid in self._tree().titled(beginning) if title(pid) == beginning][:1]
        if role == "supervisor":
            return supervisor
        workers = self._tree().titled(f"{beginning} ")
        if role in ("worker", "any"):
            return workers if role == "worker" else supervisor + workers
        return self._tree().titled(f"{beginning} {role} ")

    def has(self, pid: int) -> bool:
        """Return whether a process is a living one of the program."""
        return self.several.is_started and self.several.instance.has(pid)

    def kill_all(self) -> None:
        """Kill the whole program; harmless if it is gone or was never started."""
        if self.several.is_started:
            self.several.instance.kill_all()

    def drain(self, seconds: float = 60.0) -> int:
        """Let the program end once both queues are done, and return its exit code."""
        return self.several.drain(seconds)

    def log(self) -> str:
        """Return what the program has logged so far."""
        return self.several.instance.log()


def enter_worlds(stack: ExitStack, row: Row, adapter: Adapter, directory: Path) -> list[World]:
    """Enter the world of a row, and that of its struck queue if it has one: the program runs."""
    if row.struck is None:
        return [stack.enter_context(World(row, adapter, directory))]
    directory.mkdir(parents=True, exist_ok=True)
    several = SeveralQueues(adapter, directory)
    disk = Disk(directory, directory / "disk")
    worlds = [
        stack.enter_context(World(each, several.of(name), path, disk=disk))
        for name, each, path in ((STEADY, row, directory), (STRUCK, row.struck, directory / DIRECTORY))
    ]
    several.start()
    return worlds


def run_each(run: Callable[[World], T], worlds: Sequence[World]) -> list[T]:
    """Run a function of each world at the same time; of several, the error of one gives the others up."""
    if len(worlds) == 1:
        return [run(worlds[0])]

    def alone(world: World) -> T:
        with _gives_up(world):
            return run(world)

    with ThreadPoolExecutor(len(worlds)) as pool:
        return list(pool.map(alone, worlds))


@contextmanager
def _gives_up(world: World) -> Iterator[None]:
    try:
        yield
    except BaseException:
        instance = world.instance
        if isinstance(instance, QueueInstance):
            instance.several.ended.abort()
        raise


def _keys(options: Sequence[str]) -> dict[str, Any]:
    """Return options with values as the keys of a table."""
    return {flag.removeprefix("--"): value for flag, value in zip(options[::2], options[1::2], strict=True)}
