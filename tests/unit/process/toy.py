"""A program of toy stages under the real supervisor, run as ``python toy.py SCENARIO DIRECTORY [HANG [DRAIN]]``.

Each worker appends ``role index pid word`` lines to ``DIRECTORY/events``; tests wait for them.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from courier.errors import CannotStart
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life, Role
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Settings, Stage
from courier.process.supervisor import Supervisor

ORDER = ("consumer", "sender", "auditor")
EVENTS = os.open(Path(sys.argv[2]) / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def say(life: Life, word: str) -> None:
    os.write(EVENTS, f"{life.slot.role} {life.slot.index} {os.getpid()} {word}\n".encode())


async def idle(life: Life) -> None:
    life.on_rotate = lambda: say(life, "rotated")
    life.ready()
    say(life, "ready")
    await life.draining.wait()
    say(life, "orphaned" if life.orphaned else "drained")


async def cannot_start(_: Life) -> None:
    raise CannotStart("the disk is on fire; put it out")


async def cannot_start_again(life: Life) -> None:
    if life.slot.words[scoreboard.RESTARTS]:
        raise CannotStart("the disk is on fire; put it out")
    await idle(life)


async def fails(_: Life) -> None:
    raise ValueError("a bug")


async def fails_in_callback(life: Life) -> None:
    if life.slot.words[scoreboard.RESTARTS] == 0:
        life.loop.call_soon(int, "not a number")
    await idle(life)


async def returns(life: Life) -> None:
    if life.slot.words[scoreboard.RESTARTS]:
        await idle(life)


async def blocks(life: Life) -> None:
    life.ready()
    say(life, "ready")
    time.sleep(600)


async def outlasts(life: Life) -> None:
    """Hold a message and never give it back; a replacement behaves."""
    if life.slot.words[scoreboard.RESTARTS]:
        await idle(life)
        return
    life.slot.words[scoreboard.HELD] = 1
    life.ready()
    say(life, "ready")
    await life.draining.wait()
    say(life, "stays")
    await asyncio.sleep(600)


async def cuts(life: Life) -> None:
    """Cut a delivery at the deadline, as the sender does."""
    await idle(life)
    await asyncio.sleep(max(0.0, life.deadline() - time.monotonic()))
    life.slot.words[scoreboard.CUT] += 1
    say(life, "cut")


async def adopts(life: Life) -> None:
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
    await life.draining.wait()


def reads_to_end(channel: Channel) -> Role:
    async def run(life: Life) -> None:
        life.ready()
        say(life, "ready")
        await life.draining.wait()
        while not channel.at_eof:
            packet = channel.receive()
            if packet is not None:
                say(life, f"took-{packet[0].decode()}")
            await asyncio.sleep(0.001)
        say(life, "eof")

    return run


def writes_when_drained(channel: Channel) -> Role:
    async def run(life: Life) -> None:
        await idle(life)
        channel.send(f"last-of-{life.slot.index}".encode())

    return run


def pipeline(middle: Role = idle) -> list[Stage]:
    """Return three stages in the order of the real ones, the last with the channel of those before it."""
    acks = Channel.create("acks")
    return [
        Stage("auditor", 1, reads_to_end(acks), reads=(acks,), takes_rotate=True, restart_in_drain=True),
        Stage("sender", 2, middle, spare=2, writes=(acks,)),
        Stage("consumer", 2, writes_when_drained(acks), writes=(acks,)),
    ]


def leaves_unread() -> list[Stage]:
    work = Channel.create("work")
    return [
        Stage("auditor", 1, idle),
        Stage("sender", 1, idle, reads=(work,)),
        Stage("consumer", 1, writes_when_drained(work), writes=(work,)),
    ]


def of_one(run: Role) -> list[Stage]:
    return [Stage("auditor", 1, idle, takes_rotate=True), Stage("sender", 2, run, spare=2), Stage("consumer", 1, idle)]


SCENARIOS: dict[str, Callable[[], list[Stage]]] = {
    "idle": lambda: of_one(idle),
    "pipeline": pipeline,
    "cannot-start": lambda: of_one(cannot_start),
    "cannot-start-again": lambda: of_one(cannot_start_again),
    "fails": lambda: of_one(fails),
    "fails-in-callback": lambda: of_one(fails_in_callback),
    "returns": lambda: of_one(returns),
    "blocks": lambda: of_one(blocks),
    "outlasts": lambda: of_one(outlasts),
    "outlasts-replaced": lambda: [replace(stage, restart_in_drain=True) for stage in of_one(outlasts)],
    "leaves-unread": leaves_unread,
    "adopts": lambda: [Stage(role, 1, adopts if role == "sender" else idle) for role in ORDER],
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
    return Supervisor(stages, board, Settings(ORDER, hang, drain), lambda: {"restarts": restarts()}).run()


if __name__ == "__main__":
    sys.exit(main())
