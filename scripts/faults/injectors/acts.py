"""Acts on the control socket: what a person may ask of a running program, in quick succession and by chance."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from courier.config.processes import SPARE_CONSUMERS
from courier.control_client import Unreachable, ask
from courier.process.control_protocol import packed
from scripts.faults.fault import Fault, PromiseBroken
from scripts.faults.injectors.processes import end_in_order, reach, role_of
from scripts.faults.injectors.victims import LOOK_SECONDS
from scripts.faults.injury import Program
from scripts.faults.world import World

MOST_SENDERS: Final = 8
MOST_CONSUMERS: Final = 2 + SPARE_CONSUMERS
LONGEST_PAUSE: Final = 4
"""Acts that follow a pause at most, until receiving is resumed."""

GROWN_SECONDS: Final = 2.0
"""Only a worker that old is killed: one that dies young is replaced after a pause, which would be a stall."""

CATCH_UP_SECONDS: Final = 1.0
"""Seconds after a pause in which messages that waited need not have been received yet."""

RELOAD_SECONDS: Final = 40.0
"""Seconds after which a reload must have ended, on a busy machine too."""

WEIGHTS: Final = {
    "pause": 12,
    "resume": 8,
    "scale": 30,
    "kill": 8,
    "probe": 8,
    "rotate": 12,
    "reload": 8,
    "status": 8,
    "hostile": 12,
    "drain": 2,
}
"""How often an act is chosen. ``hostile`` is a client that sends garbage, half a request or nothing."""


class Person:
    """Somebody who asks for acts, without sense or purpose."""

    def __init__(self, world: World, program: Program, chance: random.Random) -> None:
        self._world = world
        self._program = program
        self._chance = chance
        self._paused_at: float | None = None
        self._acts_of_pause = 0
        self._seen: dict[int, float] = {}
        self._hostile: list[socket.socket] = []
        self._by_name: dict[str, Callable[[], object]] = {
            "pause": self._pause,
            "resume": self._resume,
            "scale": self._scale,
            "kill": self._kill,
            "probe": lambda: self._done("probe"),
            "rotate": lambda: self._done("rotate"),
            "reload": self._reload,
            "status": lambda: self._done("status"),
            "hostile": self._disturb,
            "drain": self._drain,
        }

    def act(self) -> None:
        """Do one act by chance; a pause ends before it would be one too long."""
        now = time.monotonic()
        workers = self._program.instance.pids("worker")
        self._seen = {pid: self._seen.get(pid, now) for pid in workers}
        self._acts_of_pause += self._paused_at is not None
        name = "resume"
        if self._acts_of_pause <= LONGEST_PAUSE:
            name = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        self._by_name[name]()

    def leave(self) -> None:
        """Undo what would last: a pause, and few senders."""
        self._resume()
        self._done("scale", senders=4, consumers=2)
        for client in self._hostile:
            client.close()

    def _done(self, act: str, **fields: Any) -> dict[str, Any]:
        try:
            answer = ask(control_path(self._program), {"act": act, **fields})
        except Unreachable as error:
            raise PromiseBroken(f"{act}: {error}") from None
        self._world.note(f"{act} {fields or ''}: {answer.get('text', answer.get('error'))}")
        if answer["ok"] is not True:
            raise PromiseBroken(f"{act} was refused: {answer['error']}")
        return answer

    def _pause(self) -> None:
        self._done("pause", reason="by chance")
        self._paused_at = self._paused_at or time.monotonic()

    def _resume(self) -> None:
        self._done("resume")
        if self._paused_at is not None:
            self._world.excuse(self._paused_at, time.monotonic() + CATCH_UP_SECONDS, "receiving was paused")
        self._paused_at, self._acts_of_pause = None, 0

    def _scale(self) -> None:
        counts = {"senders": MOST_SENDERS, "consumers": MOST_CONSUMERS}
        chosen = self._chance.sample(list(counts), self._chance.randint(1, 2))
        self._done("scale", **{name: self._chance.randint(1, counts[name]) for name in chosen})

    def _reload(self) -> None:
        """Reload a file by chance; one of three can't be used, and changes nothing."""
        if self._chance.random() < 0.33:
            write_options(
                self._program, {"visibility-timeout": self._chance.randint(1, 9) + self._world.row.visibility}
            )
        else:
            write_options(self._program, some_options(self._chance))
        # It goes on during the next acts.
        self._done("reload")

    def _kill(self) -> None:
        instance = self._program.instance
        old = [pid for pid, since in self._seen.items() if since < time.monotonic() - GROWN_SECONDS]
        if not old:
            return
        pid = self._chance.choice(old)
        # It stands still, so that what it may have delivered is known before its end.
        instance.stop_process(pid)
        self._world.wait(LOOK_SECONDS)
        ports = reach(self._world, role_of(pid), pid)
        answer = ask(control_path(self._program), {"act": "kill", "pid": pid})
        self._world.note(f"kill {pid}: {answer.get('text', answer.get('error'))}")
        self._world.hurt("kill on the control socket", ports, program=self._program)
        # It may have been leaving, or gone: then it goes on.
        instance.go_on(pid)

    def _disturb(self) -> None:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5.0)
        with contextlib.suppress(OSError):
            client.connect(str(control_path(self._program)))
            whole = packed({"act": "pause"})
            client.sendall(
                self._chance.choice([b"", whole[:3], whole[:-1], b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 70_000])
            )
        # Some stay connected, for the program to get rid of.
        self._hostile.append(client)
        if self._chance.random() < 0.5:
            client.close()

    def _drain(self) -> None:
        began = time.monotonic()
        self._done("drain")
        # What a killed worker held is still hidden.
        end_in_order(self._world, self._program, began, disturbed=True)
        if self._paused_at is not None:
            self._world.excuse(self._paused_at, time.monotonic(), "receiving was paused")
        # A pause doesn't outlive the program, and the new one has none of the old clients.
        self._paused_at, self._acts_of_pause = None, 0


def steer(world: World, fault: Fault) -> None:
    """Do ``times`` acts by chance on the control socket, one every ``every`` seconds, and undo what would last.

    Raise PromiseBroken if one isn't answered or, though it is within its bounds, refused.
    """
    program = world.program
    person = Person(world, program, random.Random(fault.seed))
    with program.turn:
        for turn in range(fault.times):
            if turn and not world.wait(fault.every):
                break
            person.act()
        person.leave()


def reload(world: World, fault: Fault) -> None:
    """Reload other options ``times`` times, ``every`` seconds after the one before is in force.

    Raise PromiseBroken if one isn't in force after :data:`RELOAD_SECONDS`.
    """
    program, chance = world.program, random.Random(fault.seed)
    with program.turn:
        for turn in range(fault.times):
            if turn and not world.wait(fault.every):
                break
            options = some_options(chance)
            write_options(program, options)
            began = time.monotonic()
            answer = ask(control_path(program), {"act": "reload"})
            while answer["ok"] and (answer := ask(control_path(program), {"act": "reloading"}))["busy"]:
                if time.monotonic() > began + RELOAD_SECONDS or not world.wait(LOOK_SECONDS):
                    break
            world.note(f"reload {options}: {answer.get('text', answer.get('error'))}")
            if not answer.get("in_force") or answer["busy"]:
                raise PromiseBroken(f"not reloaded: {answer}")


def some_options(chance: random.Random) -> dict[str, int | str]:
    """Return options that a running program takes on."""
    options: dict[str, int | str] = {
        "concurrency": chance.randint(4, 24),
        "timeout": chance.randint(10, 20),
        "rate-limit": chance.randint(1000, 5000),
        "breaker-threshold": chance.randint(5, 50),
        "senders": chance.randint(2, 6),
        "consumers": chance.randint(1, 3),
    }
    return dict(chance.sample(list(options.items()), chance.randint(1, len(options))))


def write_options(program: Program, options: dict[str, int | str]) -> None:
    """Write the program's file of options as a person's editor does: the old file or the new one, never a part."""
    path = Path(program.setting.environment["COURIER_CONFIG"])
    new = path.with_suffix(".new")
    new.write_text("".join(f"{key} = {value}\n" for key, value in options.items()))
    new.replace(path)


def control_path(program: Program) -> Path:
    """Return the path of a program's control socket."""
    return Path(program.setting.environment["COURIER_CONTROL"])


INJECTORS: Final = {"steer": steer, "reload": reload}
