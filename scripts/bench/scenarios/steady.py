"""Courier at every rate and size: CPU by role, wake-ups, latency, memory and start; beside an earlier commit if asked.

Each round starts every size of every version anew and sends at one rate after the other, then fills a queue and lets it
be emptied. Versions take turns, so that a busy minute affects both. What an empty queue costs is measured once, all
programs side by side: they hardly disturb each other, and a long poll takes 20 seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, TypeAlias

import uvloop

from scripts.bench.pace import Ages, client_of, send_steadily
from scripts.bench.programs import Program
from scripts.bench.rig import Rig
from scripts.bench.samples import Samples, Where
from scripts.bench.scenario import Outcome, table
from scripts.bench.servers import Queue
from scripts.bench.size import Size, sizes
from scripts.bench.start import STARTS, first_post
from scripts.bench.tree import Cpu
from scripts.bench.trial import Running, wait_for_end
from scripts.bench.versions import NOW, add_before, in_turns, versions, with_options
from scripts.bench.window import Window, come_to_rest, open_window

HELP: Final = "CPU, wake-ups, memory and start at every rate and size, beside an earlier commit"
FULL: Final = "full"
IDLE: Final = "0"
ROLES: Final = ("consumer", "sender", "auditor")
WARM_UP_SECONDS: Final = 1.0
"""Seconds at a rate that don't count, because the first messages open connections and call workers in."""


Turn: TypeAlias = tuple[Size, str, Program]
"""A size of a version, and the program that it is."""


def rates(text: str) -> list[str]:
    """Parse rates separated by commas, as an option's type: messages a second, or ``full``. Raise ValueError."""
    return [part if part == FULL else f"{float(part):g}" for part in text.split(",")]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add rates, sizes, the amount of work and the other version."""
    parser.add_argument(
        "--rates", type=rates, default=rates(f"0,10,100,1000,{FULL}"), help="messages a second, or full"
    )
    parser.add_argument("--sizes", type=sizes, default=sizes("1+1,2+4,8+16"), help="consumers+senders, with commas")
    parser.add_argument("--seconds", type=float, default=4.0, help="at each rate above 0")
    parser.add_argument("--idle-seconds", type=float, default=40.0, help="at rate 0; a long poll takes 20")
    parser.add_argument("--messages", type=int, default=40_000, help="in the queue at full load")
    parser.add_argument("--rounds", type=int, default=2)
    add_before(parser)


def run(given: argparse.Namespace) -> Outcome:
    """Measure all rates and sizes."""
    samples = Samples()
    with Rig(given.output) as rig:
        programs = versions(given.before, rig.directory("before"))
        if IDLE in given.rates:
            _measure_idle(rig, given, programs, samples)
        for number in range(given.rounds):
            for size, name, program in _turns(programs, given.sizes, number):
                _measure(rig, given, (size, name, program), samples)
                print(f"round {number + 1}: {size} {name}: {_progress(samples, name, size, given.rates)}", flush=True)
    shown = render(samples, given.sizes, given.rates)
    return Outcome(shown, f"steady: {_line(samples, given.sizes, given.rates)}", samples.listed())


def _turns(programs: Mapping[str, Program], chosen: Sequence[Size], number: int) -> Iterator[Turn]:
    """Yield each size of each version in a round."""
    for size in chosen:
        for name in in_turns(programs, number):
            yield size, name, with_options(programs[name], *size.options)


def _measure_idle(rig: Rig, given: argparse.Namespace, programs: Mapping[str, Program], samples: Samples) -> None:
    """Watch all programs on empty queues at the same time."""
    recipient = rig.own_recipient()
    with ExitStack() as stack:
        started = []
        for size, name, program in _turns(programs, given.sizes, 0):
            own = stack.enter_context(Rig(given.output))  # the calls of a server are counted for all of its queues
            queue = own.queue()
            running = Running(program, queue, recipient.url, own.directory("idle"), stop_seconds=0.0)
            started.append((size, name, stack.enter_context(running), queue))
        come_to_rest([(running, queue) for _, _, running, queue in started])
        opened = [open_window(running, queue) for _, _, running, queue in started]
        time.sleep(given.idle_seconds)
        for (size, name, _, _), begin in zip(started, opened, strict=True):
            window = begin.close()
            percent = 100 / window.seconds
            receives = window.calls["ReceiveMessage"] / window.seconds * 60
            samples.add(name, Where(str(size), IDLE), **_by_role(window.cpu, percent), **_woken(window, window.seconds))
            samples.add(name, Where(str(size)), receives=receives)
    recipient.kill()


def _measure(rig: Rig, given: argparse.Namespace, turn: Turn, samples: Samples) -> None:
    """Measure a program's start, each rate above 0, and full load."""
    size, name, program = turn
    starter = rig.own_recipient()
    for kind, changed in STARTS.items():
        milliseconds = 1000 * first_post(rig, starter, changed(program, rig.directory("keys")))
        samples.add(name, Where(str(size)), **{kind: milliseconds})
    starter.kill()
    if any(rate not in (IDLE, FULL) for rate in given.rates):
        _measure_rates(rig, given, turn, samples)
    if FULL in given.rates:
        trial = rig.trial(program, given.messages)
        if trial.faults:
            raise SystemExit(f"WRONG: {size}, {name}: {', '.join(trial.faults)}")
        wakes = sum(trial.wakes.values()) / trial.messages
        figures = {**_by_role(trial.cpu, 1e6 / trial.messages), "wakes": wakes, "rate": trial.rate}
        samples.add(name, Where(str(size), FULL), **figures)


def _measure_rates(rig: Rig, given: argparse.Namespace, turn: Turn, samples: Samples) -> None:
    """Send at one rate after the other to one running program, then read its memory."""
    size, name, program = turn
    queue, recipient = rig.queue(), rig.own_recipient()
    running = Running(program, queue, recipient.url, rig.directory("rates"), stop_seconds=0.0)
    with running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        running.wait_until_logged("event=ready")
        for rate in given.rates:
            if rate in (IDLE, FULL):
                continue
            count = max(2, round(float(rate) * given.seconds))
            window = runner.run(_send(running, queue, float(rate), count))
            wait_for_end(running, queue, count)
            ages = Ages.of(recipient.wait_for(count)[-count:])
            figures = {**_by_role(window.cpu, 1e6 / count), **_woken(window, count), "p50": ages.p50, "p99": ages.p99}
            samples.add(name, Where(str(size), rate), **figures)
        samples.add(name, Where(str(size)), pss=sum(running.tree.pss_kib().values()) / 1024)
    recipient.kill()


async def _send(running: Running, queue: Queue, rate: float, count: int) -> Window:
    """Send for the warm-up, and then ``count`` messages. Return what the program used for those.

    The window has messages under way at both of its ends, so that what is settled late counts once.
    """
    async with client_of(queue) as client:
        await send_steadily(client, rate, max(1, round(rate * WARM_UP_SECONDS)))
        await asyncio.sleep(1 / rate)
        opened = open_window(running, queue)
        await send_steadily(client, rate, count)
        await asyncio.sleep(1 / rate)
        return opened.close()


def _by_role(cpu: Cpu, factor: float) -> dict[str, float]:
    """Return CPU seconds times a factor: in all, of the roles that grow with the load, and the rest."""
    figures = {role: used.cpu * factor for role, used in cpu.roles.items() if role in ROLES}
    # What rounding leaves of nothing may be below it.
    return {"cpu": cpu.total * factor, **figures, "rest": max(0.0, cpu.total * factor - sum(figures.values()))}


def _woken(window: Window, divisor: float) -> dict[str, float]:
    return {"wakes": sum(window.wakes.values()) / divisor}


_RATE_COLUMNS: Final = {"cpu": "CPU µs/msg", "consumer": "consumers", "sender": "senders", "auditor": "auditor"}
_WAKES: Final = "wake-ups/msg"
_SIZE_COLUMNS: Final = {
    "static": "first POST, static keys, ms",
    "profile": "first POST, keys in a file, ms",
    "pss": "PSS MiB",
    "receives": "receives/min, idle",
}


def render(samples: Samples, chosen: Sequence[Size], at: Sequence[str]) -> str:
    """Render a table of what a message costs at each rate, and one of what each size costs whatever the rate."""
    messages = [
        [
            str(size),
            samples.cell(where, "rate") if rate == FULL else rate,
            *(samples.cell(where, name, " %" if rate == IDLE else "") for name in (*_RATE_COLUMNS, "rest")),
            samples.cell(where, "wakes", "/s" if rate == IDLE else ""),
            *(samples.cell(where, name) for name in ("p50", "p99")),
        ]
        for size in chosen
        for rate in at
        for where in (Where(str(size), rate),)
    ]
    columns = ["consumers + senders", "msg/s", *_RATE_COLUMNS.values(), "the rest", _WAKES, "p50 ms", "p99 ms"]
    whole = [[str(size), *(samples.cell(Where(str(size)), name) for name in _SIZE_COLUMNS)] for size in chosen]
    return f"{table(columns, messages)}\n\n{table(['consumers + senders', *_SIZE_COLUMNS.values()], whole)}"


def _progress(samples: Samples, name: str, size: Size, at: Sequence[str]) -> str:
    """Return the CPU of the newest round at each rate."""
    newest = {rate: samples.of(name, Where(str(size), rate), "cpu")[-1:] for rate in at}
    return ", ".join(f"{values[0]:.1f} at {rate}" for rate, values in newest.items() if values and rate != IDLE)


def _line(samples: Samples, chosen: Sequence[Size], at: Sequence[str]) -> str:
    """Return the CPU of each size at each rate."""
    parts = []
    for rate in at:
        cells = [f"{samples.median(NOW, Where(str(size), rate), 'cpu'):.3g}" for size in chosen]
        unit = "% of a core" if rate == IDLE else "µs"
        parts.append(f"{' / '.join(cells)} {unit} at {rate}")
    return f"{', '.join(parts)} ({', '.join(map(str, chosen))})"
