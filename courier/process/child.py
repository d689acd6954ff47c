"""The frame of a forked worker around its role: signals, descriptors, the loop, the beat, and the end."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import structlog
import uvloop
from setproctitle import setproctitle

from courier.errors import CannotStart
from courier.log.level import follow_level
from courier.log.recurring import RecurringLine, report_recurring
from courier.log.stderr import flush_standard_streams, output
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.dump import SIGNAL, offer_stacks, print_stacks_on_signal
from courier.process.life import Life, Role, RoleFactory
from courier.process.scoreboard import Scoreboard, Slot
from courier.process.stage import Stage, SupervisorOptions

ORPHAN_END: Final = 1.9
"""Seconds after the supervisor's death after which the kernel ends a worker, whatever its loop is doing."""

EXIT_FAILED: Final = 1

GC_THRESHOLDS: Final = (20_000, 20, 20)
"""Thresholds of the garbage collector: new objects, and collections of the younger generation."""

DRAIN: Final = b"d"
"""The byte that the supervisor writes to a lifeline to order a drain, before it closes it."""

# Ctrl-C reaches the whole process group, and a service manager may signal all processes of a container. None of these
# signals may interrupt a worker between a POST and its record, so only the supervisor handles them.
_IGNORED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGIO,
)

REPORT: Final = "please report it, with the traceback; Courier continues"

log = structlog.get_logger("courier.worker")


@dataclass(frozen=True, slots=True)
class Inherited:
    """The descriptors that a child inherits: two read ends to watch, ``foreign`` ones to close, and all channels.

    ``lifeline`` carries the order to drain, and ends when the supervisor is dead. ``life`` only ends then; it is for
    workers whose lifeline has ended already. ``stacks`` is the file for the stacks, -1 for none.
    """

    lifeline: int
    life: int
    foreign: Iterable[int]
    channels: Iterable[Channel]
    stacks: int = -1


def run_child(
    stage: Stage, slot: Slot, board: Scoreboard, options: SupervisorOptions, inherited: Inherited
) -> NoReturn:
    """Run a worker and exit. Call it in the forked child, with the supervisor's signals still blocked."""
    code = EXIT_FAILED
    try:
        _claim_slot(slot)
        _close_unused(stage, inherited)
        setproctitle(f"courier: {options.title}{slot.role} {slot.index}")
        _ignore_signals(inherited.stacks)
        print_stacks_on_signal(inherited.stacks)
        offer_stacks(slot, inherited.stacks)
        _run(stage, slot, board, options, inherited)
        code = 0
    except CannotStart as error:
        log.error("cannot start", role=slot.role, index=slot.index, reason=error.reason, advice=error.advice)
        code = error.exit_code
    except Exception:
        log.exception("worker failed", role=slot.role, index=slot.index, advice=REPORT)
    finally:
        report_recurring(rest=True)
        _flush()
        os._exit(code)


def _claim_slot(slot: Slot) -> None:
    now = time.monotonic()
    slot.words[scoreboard.PID] = os.getpid()
    slot.words[scoreboard.STATE] = scoreboard.STARTING
    slot.reals[scoreboard.STARTED] = now
    slot.reals[scoreboard.BEAT] = now


def _close_unused(stage: Stage, inherited: Inherited) -> None:
    # At once, because a sibling sees the end of its lifeline only after every other process has closed the write end.
    for descriptor in inherited.foreign:
        os.close(descriptor)
    for channel in inherited.channels:
        reading = channel in stage.reads or channel in stage.watches
        channel.keep(reading=reading, writing=channel in stage.writes)


def _ignore_signals(stacks: int) -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    if stacks != -1:
        # To the file that the supervisor reads after the end of this process, because stderr may be full.
        faulthandler.enable(stacks)


def _run(stage: Stage, slot: Slot, board: Scoreboard, options: SupervisorOptions, inherited: Inherited) -> None:
    # A delivery's objects die with it, and aren't in cycles. These thresholds cost a percent or two less CPU than the
    # defaults.
    gc.set_threshold(*GC_THRESHOLDS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    life = Life(slot, board, loop, options.drain_timeout, stage.drain_reserve, stage.bells)
    if stage.takes_rotate:
        loop.add_signal_handler(signal.SIGUSR1, life.rotate)
    # The kernel ends an orphan by SIGALRM; from other senders it has no effect. A thread waits for SIGNAL.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGALRM, SIGNAL})
    # A thread instead of a reader on the loop, because a worker with a blocked loop must end in time too.
    # One without an object: threading.Thread copies 0.3 MB of the pages that the processes share.
    _thread.start_new_thread(_watch_supervisor, (inherited.life, life))
    loop.add_reader(inherited.lifeline, _lifeline_spoke, inherited.lifeline, life)
    _beat(life, min(1.0, options.hang_timeout / 4))
    loop.run_until_complete(_serve(stage.make, life))


async def _serve(make: RoleFactory, life: Life) -> None:
    failed: asyncio.Future[None] = life.loop.create_future()
    # The loop reports errors of transports, and a peer can cause any number of them.
    trouble = RecurringLine(log, "error", "the event loop reports an error; the worker continues")

    def on_exception(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        # An exception from a callback comes from Courier's code and leaves an unknown state, so a new worker is safer.
        # Others (an error of a transport, a task that wasn't awaited) are logged, and the worker continues.
        if "handle" in context and error is not None and not failed.done():
            failed.set_exception(error)
        else:
            message = context["message"]
            of = message, type(error)
            trouble(of, reason=message, role=life.slot.role, index=life.slot.index, advice=REPORT, exc_info=error)

    life.loop.set_exception_handler(on_exception)
    work = asyncio.ensure_future(_make_and_run(make, life))
    await asyncio.wait((work, failed), return_when=asyncio.FIRST_COMPLETED)
    await (failed if failed.done() else work)


async def _make_and_run(make: RoleFactory, life: Life) -> None:
    await run_role(await make(life), life)


async def run_role(role: Role, life: Life) -> None:
    """Start a role, let it work until the order to drain, let it drain by its deadline, and close it."""
    life.on_beat, life.on_rotate = role.beat, role.rotate
    try:
        life.ready()
        role.start()
        await life.draining.wait()
        await role.drain()
    finally:
        life.on_beat = None
        life.cancel_tasks()
        await role.close()


def _watch_supervisor(descriptor: int, life: Life) -> None:
    while os.read(descriptor, 1):
        pass
    # SIGALRM has its default action, so the kernel ends the process. A pending one from another sender is discarded
    # first, because it would end the process at once.
    signal.sigtimedwait({signal.SIGALRM}, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, ORPHAN_END)
    with contextlib.suppress(RuntimeError):  # the loop is closed, because the worker is ending already
        life.loop.call_soon_threadsafe(life.orphan)
    # The signal is blocked in all other threads, so this one must stay to receive it.
    time.sleep(2 * ORPHAN_END)


def _lifeline_spoke(descriptor: int, life: Life) -> None:
    word = os.read(descriptor, 1)
    life.loop.remove_reader(descriptor)
    os.close(descriptor)
    # An end without the byte means that the supervisor is dead. The other pipe ends too, but the kernel closes a dead
    # process's descriptors in any order, and the role must know at once whether it has the time of a drain or of an
    # orphan.
    if word == DRAIN:
        life.drain()
    else:
        life.orphan()


def _beat(life: Life, period: float) -> None:
    life.beat()
    follow_level(life.board.supervisor.words[scoreboard.LOG_LEVEL])
    report_recurring()
    life.slot.words[scoreboard.LINES_DROPPED] += output().take_dropped()
    life.loop.call_later(life.seconds_to_turn(period), _beat, life, period)


def _flush() -> None:
    flush_standard_streams()
    logging.shutdown()
