"""A program of toy stages under the real supervisor, run as ``python toy.py SCENARIO DIRECTORY [HANG [DRAIN]]``.

Each worker appends ``role index pid word`` lines to ``DIRECTORY/events``; tests wait for them.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from courier.errors import CannotStart, ConfigError
from courier.process import reload, scoreboard
from courier.process.bells import Bells
from courier.process.channel import Channel
from courier.process.departure import WATCHER, Departure, write_departure
from courier.process.life import Life, Role, RoleFactory
from courier.process.rereading import Plan, Rereading
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Stage, SupervisorOptions
from courier.process.supervisor import Supervisor

ORDER = ("consumer", "sender", "auditor")
EVENTS = os.open(Path(sys.argv[2]) / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def say(life: Life, word: str) -> None:
    os.write(EVENTS, f"{life.slot.role} {life.slot.index} {os.getpid()} {word}\n".encode())


class Idle(Role):
    def __init__(self, life: Life) -> None:
        self.life = life

    def start(self) -> None:
        say(self.life, "ready")

    def rotate(self) -> None:
        say(self.life, "rotated")

    async def drain(self) -> None:
        say(self.life, "orphaned" if self.life.orphaned else "drained")


class Hears(Idle):
    """Says when its bell was rung, and who was on the board in the first slot then."""

    def start(self) -> None:
        self.life.loop.add_reader(self.life.bells.fileno(self.life.slot.index), self.heard)
        super().start()

    def heard(self) -> None:
        self.life.bells.hush(self.life.slot.index)
        say(self.life, f"heard-{self.life.board.slots('sender')[0].words[scoreboard.PID]}")


async def hears(life: Life) -> Role:
    return Hears(life)


async def idle(life: Life) -> Role:
    return Idle(life)


async def cannot_start(_: Life) -> Role:
    raise CannotStart("the disk is on fire; put it out")


async def cannot_start_again(life: Life) -> Role:
    if life.slot.words[scoreboard.RESTARTS]:
        raise CannotStart("the disk is on fire; put it out")
    return Idle(life)


async def fails(_: Life) -> Role:
    raise ValueError("a bug")


async def fails_in_callback(life: Life) -> Role:
    if life.slot.words[scoreboard.RESTARTS] == 0:
        life.loop.call_soon(int, "not a number")
    return Idle(life)


async def exits(life: Life) -> Role:
    if life.slot.words[scoreboard.RESTARTS] == 0:
        os._exit(0)
    return Idle(life)


async def blocks(life: Life) -> Role:
    life.ready()
    say(life, "ready")
    time.sleep(600)
    return Idle(life)


async def dies_young(life: Life) -> Role:
    life.loop.call_later(0.05, os._exit, 1)
    return Idle(life)


async def segfaults(life: Life) -> Role:
    if life.slot.words[scoreboard.RESTARTS] == 0:
        ctypes.string_at(0)
    return Idle(life)


class Outlasts(Idle):
    """Holds a message and never gives it back."""

    def start(self) -> None:
        self.life.slot.words[scoreboard.HELD] = 1
        super().start()

    async def drain(self) -> None:
        say(self.life, "stays")
        await asyncio.sleep(600)


async def outlasts(life: Life) -> Role:
    """Outlast the drain; a replacement behaves."""
    return (Idle if life.slot.words[scoreboard.RESTARTS] else Outlasts)(life)


class Cuts(Idle):
    """Cuts a delivery at the deadline, as the sender does."""

    async def drain(self) -> None:
        await super().drain()
        while time.monotonic() < self.life.deadline():
            await asyncio.sleep(0.01)
        self.life.slot.words[scoreboard.CUT] += 1
        say(self.life, "cut")


async def cuts(life: Life) -> Role:
    return Cuts(life)


async def adopts(life: Life) -> Role:
    """Leave a grandchild to whoever is PID 1, and say so when nothing is left of it."""
    life.ready()
    middle = os.fork()
    if middle == 0:
        grandchild = os.fork()
        if grandchild:
            with open(Path(sys.argv[2]) / "grandchild", "w") as file:
                file.write(str(grandchild))
        else:
            time.sleep(0.2)
        os._exit(0)
    os.waitpid(middle, 0)
    grandchild = int((Path(sys.argv[2]) / "grandchild").read_text())
    while Path(f"/proc/{grandchild}").exists():
        await asyncio.sleep(0.01)
    say(life, f"ppid-{os.getppid()}-reaped")
    return Role()


class ReadsToEnd(Idle):
    """Reads a channel to its end, once it is told to drain."""

    def __init__(self, life: Life, channel: Channel) -> None:
        super().__init__(life)
        self.channel = channel

    def rotate(self) -> None:
        pass

    async def drain(self) -> None:
        while not self.channel.at_eof:
            packet = self.channel.receive()
            if packet is not None:
                say(self.life, f"took-{packet[0].decode()}")
            await asyncio.sleep(0.001)
        say(self.life, "eof")


def reads_to_end(channel: Channel) -> RoleFactory:
    async def make(life: Life) -> Role:
        return ReadsToEnd(life, channel)

    return make


class WritesWhenDrained(Idle):
    """Writes one packet to a channel, once it is told to drain."""

    def __init__(self, life: Life, channel: Channel) -> None:
        super().__init__(life)
        self.channel = channel

    async def drain(self) -> None:
        await super().drain()
        self.channel.send(f"last-of-{self.life.slot.index}".encode())


def writes_when_drained(channel: Channel) -> RoleFactory:
    async def make(life: Life) -> Role:
        return WritesWhenDrained(life, channel)

    return make


def pipeline(middle: RoleFactory = idle) -> list[Stage]:
    """Return three stages in the order of the real ones, the last with the channel of those before it."""
    acks = Channel.create("acks")
    return [
        Stage("auditor", 1, reads_to_end(acks), reads=(acks,), takes_rotate=True, restart_in_drain=True),
        Stage("sender", 2, middle, spare=2, takes_scale_signals=True, writes=(acks,)),
        Stage("consumer", 2, writes_when_drained(acks), writes=(acks,)),
    ]


def leaves_unread() -> list[Stage]:
    work = Channel.create("work")
    return [
        Stage("auditor", 1, idle),
        Stage("sender", 1, idle, reads=(work,)),
        Stage("consumer", 1, writes_when_drained(work), writes=(work,)),
    ]


def of_one(make: RoleFactory) -> list[Stage]:
    return [
        Stage("auditor", 1, idle, takes_rotate=True),
        Stage("sender", 2, make, spare=2, takes_scale_signals=True),
        Stage("consumer", 1, idle),
    ]


def config() -> str:
    return (Path(sys.argv[2]) / "config").read_text()


def read() -> bytes:
    """Read the toy's configuration, which is the name of what senders do."""
    text = config()
    if text == "blocks":
        say_pid = Path(sys.argv[2]) / "reader"
        say_pid.write_text(str(os.getpid()))
        time.sleep(600)
    if text == "waits":
        (Path(sys.argv[2]) / "reader").write_text(str(os.getpid()))
        while not (Path(sys.argv[2]) / "go").exists():
            time.sleep(0.01)
        text = "second"
    if text == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "raises":
        raise ValueError("a bug")
    if text not in MAKES:
        raise ConfigError(f"--toy {text} needs a restart")
    return text.encode()


def plan(text: bytes) -> Plan:
    name = text.decode()
    options = [f"--toy {name}"] if name != "same" else []
    return Plan({"sender": MAKES[name]}, {}, options, lambda: None)


def says(word: str) -> RoleFactory:
    class Says(Idle):
        def start(self) -> None:
            say(self.life, word)
            super().start()

    async def make(life: Life) -> Role:
        return Says(life)

    return make


async def never_ready(_: Life) -> Role:
    await asyncio.sleep(600)
    return Role()


MAKES = {
    "second": says("second"),
    "third": says("third"),
    "same": idle,
    "never-ready": never_ready,
    "cannot-start": cannot_start,
    "outlasts": outlasts,
}


class Announces(Idle):
    """Writes the departure that a file of the test says: the seconds until the machine ends."""

    def start(self) -> None:
        self.life.start(self.watch())
        super().start()

    async def watch(self) -> None:
        path = Path(sys.argv[2]) / "ends-in"
        while not path.exists():
            await asyncio.sleep(0.01)
        ends_at = time.monotonic() + float(path.read_text())
        write_departure(self.life.slot, Departure("spot", ends_at))


async def announces(life: Life) -> Role:
    return Announces(life)


class TakesItsTime(Announces):
    """Drains last, and takes a second for it."""

    async def drain(self) -> None:
        await asyncio.sleep(1.0)
        await super().drain()


async def takes_its_time(life: Life) -> Role:
    return TakesItsTime(life)


def departs(make: RoleFactory, own_seconds: float = 0.0) -> list[Stage]:
    watcher = Stage(WATCHER, 1, announces if not own_seconds else takes_its_time, own_seconds=own_seconds)
    return [watcher, *(replace(stage, drain_reserve=0.5) for stage in of_one(make))]


SCENARIOS: dict[str, Callable[[], list[Stage]]] = {
    "idle": lambda: of_one(idle),
    "reload": lambda: of_one(says("first")),
    "reload-slow": lambda: of_one(outlasts),
    "reload-dying": lambda: of_one(dies_young),
    "pipeline": pipeline,
    "cannot-start": lambda: of_one(cannot_start),
    "cannot-start-again": lambda: of_one(cannot_start_again),
    "fails": lambda: of_one(fails),
    "fails-in-callback": lambda: of_one(fails_in_callback),
    "exits": lambda: of_one(exits),
    "blocks": lambda: of_one(blocks),
    "segfaults": lambda: of_one(segfaults),
    "outlasts": lambda: of_one(outlasts),
    "outlasts-replaced": lambda: [replace(stage, restart_in_drain=True) for stage in of_one(outlasts)],
    "leaves-unread": leaves_unread,
    "adopts": lambda: [Stage(role, 1, adopts if role == "sender" else idle) for role in ORDER],
    "hears": lambda: [replace(stage, bells=Bells.create(4)) if stage.spare else stage for stage in of_one(hears)],
    "departs": lambda: departs(cuts),
    "departs-hanging": lambda: departs(outlasts, own_seconds=5.0),
    "cuts": lambda: [replace(stage, drain_reserve=0.5) for stage in of_one(cuts)],
}


def main() -> int:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    stages = SCENARIOS[sys.argv[1]]()
    hang, drain = [*(float(text) for text in sys.argv[3:]), 30.0, 30.0][:2]
    board = Scoreboard.create({stage.role: stage.count + stage.spare for stage in stages})
    restarts = functools.partial(board.total, scoreboard.RESTARTS)
    rereading = Rereading(read, plan) if sys.argv[1].startswith("reload") else None
    reload.READ_SECONDS, reload.READY_SECONDS = 2.0, 1.0  # type: ignore[misc]
    order = (*ORDER, WATCHER) if sys.argv[1].startswith("departs") else ORDER
    options = SupervisorOptions(order, hang, drain, rereading=rereading)
    return Supervisor(stages, board, options, lambda: {"restarts": restarts()}).run()


if __name__ == "__main__":
    sys.exit(main())
