"""What a forked worker does around its role: signals, descriptors, the loop, the beat, and knowing when to go."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import structlog
import uvloop
from setproctitle import setproctitle

from courier.errors import CannotStart
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.dump import offer
from courier.process.scoreboard import Scoreboard, Slot
from courier.process.stage import Settings, Stage

ORPHAN_DEADLINE: Final = 1.5
"""Seconds that a role has to release and commit once the supervisor is dead."""

ORPHAN_END: Final = 1.9
"""Seconds after which the kernel ends an orphan that is still there, whatever its loop is doing."""

EXIT_FAILED: Final = 1

GC_THRESHOLDS: Final = (20_000, 20, 20)
"""Objects more than before, and rounds of the younger generation, at which the collector looks."""

DRAIN: Final = b"d"
"""What the supervisor writes into a lifeline before it closes it."""

# Ctrl-C reaches the whole process group, and a service manager may signal all of a container: none of these may cut a
# step between the POST and its record. Only the supervisor acts on them.
_IGNORED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGTTIN,
    signal.SIGTTOU,
)

log = structlog.get_logger("courier.worker")


class Life:
    """What a role is given: its slot, the board, the loop, and word of when to go.

    ``draining`` is set when the supervisor tells this worker to drain, or is dead; ``orphaned`` is true in the second
    case. ``on_rotate`` is called on the loop when SIGUSR1 came, in stages that take it and where the role set it;
    ``on_beat`` about once a second, where the role set it: what can be done then needs no timer of its own.
    """

    __slots__ = (
        "_own_deadline",
        "_reserve",
        "_timeout",
        "board",
        "draining",
        "loop",
        "on_beat",
        "on_rotate",
        "orphaned",
        "slot",
    )

    def __init__(
        self,
        slot: Slot,
        board: Scoreboard,
        loop: asyncio.AbstractEventLoop,
        drain_timeout: float = 30.0,
        drain_reserve: float = 0.0,
    ) -> None:
        self.slot = slot
        self.board = board
        self.loop = loop
        self.draining = asyncio.Event()
        self.orphaned = False
        self.on_rotate: Callable[[], None] | None = None
        self.on_beat: Callable[[], None] | None = None
        self._timeout = drain_timeout
        self._reserve = min(drain_reserve, drain_timeout / 2)
        self._own_deadline = math.inf

    def ready(self) -> None:
        """Say that this worker does its work now."""
        if not self.draining.is_set():
            self.slot.words[scoreboard.STATE] = scoreboard.READY

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the role, and give its task. What it raises ends the worker, as if the role had."""
        task = self.loop.create_task(work)
        task.add_done_callback(raise_its_error)
        return task

    def deadline(self) -> float:
        """Return the instant (monotonic seconds) by which the role must have returned; infinite while not draining.

        It can move closer: a worker taken out by itself may be overtaken by a drain of all, and that by the
        supervisor's death. Ask again rather than keep it.
        """
        whole = self.board.supervisor.reals[scoreboard.DRAIN_DEADLINE]
        if whole and self.draining.is_set():
            return min(self._own_deadline, whole - self._reserve)
        return self._own_deadline

    def drain(self) -> None:
        """Tell the role to finish: the supervisor said so."""
        if not self.draining.is_set():
            self._own_deadline = time.monotonic() + self._timeout - self._reserve
            self._leave()

    def orphan(self) -> None:
        """Tell the role that the supervisor is dead: release, commit and go."""
        # Those whose outcomes somebody else must settle go a little earlier here too.
        budget = ORPHAN_DEADLINE - min(self._reserve, 0.5)
        self._own_deadline = min(self._own_deadline, time.monotonic() + budget)
        self.orphaned = True
        self._leave()

    def _leave(self) -> None:
        self.slot.words[scoreboard.STATE] = scoreboard.DRAINING
        self.draining.set()

    def beat(self) -> None:
        """Show a sign of life."""
        self.slot.reals[scoreboard.BEAT] = time.monotonic()
        if self.on_beat is not None:
            self.on_beat()

    def rotate(self) -> None:
        """Pass SIGUSR1 on to the role."""
        if self.on_rotate is not None:
            self.on_rotate()


def raise_its_error(task: asyncio.Task[None]) -> None:
    """Raise what a task raised: as its done-callback, so that the loop's exception handler ends the worker."""
    if not task.cancelled():
        task.result()


Role = Callable[[Life], Awaitable[None]]
"""Returns when drained. CannotStart ends the worker with exit code 3, any other exception with 1 and a traceback."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """The descriptors that a child finds open: two read ends to watch, ``foreign`` ones to close, all channels.

    ``lifeline`` says when this worker shall drain and ends when the supervisor is dead; ``life`` does only the latter,
    for workers whose lifeline has ended already.
    """

    lifeline: int
    life: int
    foreign: Iterable[int]
    channels: Iterable[Channel]


def run_child(stage: Stage, slot: Slot, board: Scoreboard, settings: Settings, inherited: Inherited) -> NoReturn:
    """Be a worker: called in the forked child, with all signals that the supervisor takes still blocked."""
    code = EXIT_FAILED
    try:
        _claim_slot(slot)
        _close_unused(stage, inherited)
        setproctitle(f"courier: {slot.role} {slot.index}")
        _ignore_signals()
        offer(slot)
        _run(stage, slot, board, settings, inherited)
        code = 0
    except CannotStart as error:
        log.error("cannot start", role=slot.role, index=slot.index, reason=str(error))
        code = error.exit_code
    except Exception:
        log.exception("worker failed", role=slot.role, index=slot.index)
    finally:
        _flush()
        os._exit(code)


def _claim_slot(slot: Slot) -> None:
    now = time.monotonic()
    slot.words[scoreboard.PID] = os.getpid()
    slot.words[scoreboard.STATE] = scoreboard.STARTING
    slot.reals[scoreboard.STARTED] = now
    slot.reals[scoreboard.BEAT] = now


def _close_unused(stage: Stage, inherited: Inherited) -> None:
    # First of all: while this process holds the write end of a sibling's lifeline, the sibling can't be told to drain.
    for descriptor in inherited.foreign:
        os.close(descriptor)
    for channel in inherited.channels:
        reading = channel in stage.reads or channel in stage.watches
        channel.keep(reading=reading, writing=channel in stage.writes)


def _ignore_signals() -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    if sys.stderr is not None:
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR2, all_threads=True)
    else:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _run(stage: Stage, slot: Slot, board: Scoreboard, settings: Settings, inherited: Inherited) -> None:
    # Young objects of a delivery are gone with it, and none of them in cycles: looked at this often, it costs a percent
    # or two less than by default.
    gc.set_threshold(*GC_THRESHOLDS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    life = Life(slot, board, loop, settings.drain_timeout, stage.drain_reserve)
    if stage.takes_rotate:
        loop.add_signal_handler(signal.SIGUSR1, life.rotate)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # A thread, and not a reader on the loop: a loop that is blocked just then must be gone in time too.
    threading.Thread(target=_watch_supervisor, args=(inherited.life, life), name="life", daemon=True).start()
    loop.add_reader(inherited.lifeline, _lifeline_spoke, inherited.lifeline, life)
    _beat(life, min(1.0, settings.hang_timeout / 4))
    loop.run_until_complete(_serve(stage.run, life))


async def _serve(run: Role, life: Life) -> None:
    failed: asyncio.Future[None] = life.loop.create_future()

    def on_exception(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        # What a callback raised was raised by our own code, in a state that nobody knows; a new worker is safer than
        # this one. The rest (a transport's trouble, a task that nobody awaited) is told and goes on.
        if "handle" in context and error is not None and not failed.done():
            failed.set_exception(error)
        else:
            log.error(context["message"], role=life.slot.role, index=life.slot.index, exc_info=error)

    life.loop.set_exception_handler(on_exception)
    work = asyncio.ensure_future(run(life))
    await asyncio.wait((work, failed), return_when=asyncio.FIRST_COMPLETED)
    await (failed if failed.done() else work)


def _watch_supervisor(descriptor: int, life: Life) -> None:
    while os.read(descriptor, 1):
        pass
    # SIGALRM has its default action, so the kernel itself ends the process.
    signal.setitimer(signal.ITIMER_REAL, ORPHAN_END)
    with contextlib.suppress(RuntimeError):  # the loop is closed: on its way out already
        life.loop.call_soon_threadsafe(life.orphan)


def _lifeline_spoke(descriptor: int, life: Life) -> None:
    word = os.read(descriptor, 1)
    life.loop.remove_reader(descriptor)
    os.close(descriptor)
    # Cut without a word: the supervisor is dead. The other pipe says so too, but the kernel closes a dead process's
    # descriptors in no promised order, and a role looks at once whether it has the time of a drain or of an orphan.
    if word == DRAIN:
        life.drain()
    else:
        life.orphan()


def _beat(life: Life, period: float) -> None:
    life.beat()
    life.loop.call_later(period, _beat, life, period)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    logging.shutdown()
