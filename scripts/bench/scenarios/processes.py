"""From 1 + 1 to 8 + 16 processes at full load, with recipients that take their time: the rate, and the cost of more."""

from __future__ import annotations

import argparse
import itertools
from typing import Final

from scripts.bench.rig import Rig
from scripts.bench.samples import Samples, Where
from scripts.bench.scenario import Outcome, numbers, table
from scripts.bench.size import Size, sizes
from scripts.bench.versions import NOW, add_before, in_turns, versions, with_options

HELP: Final = "1 + 1 to 8 + 16 processes, beside an earlier commit"
SECONDS: Final = 4.0
"""Seconds of work for all slots of a size, if the recipient's time is the limit."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add sizes, recipients, the amount of work and the other version."""
    parser.add_argument("--sizes", type=sizes, default=sizes("1+1,1+2,2+4,4+8,8+16"), help="consumers+senders")
    parser.add_argument("--recipient-ms", type=numbers, default=[0, 2, 10, 50], help="of each answer, with commas")
    parser.add_argument("--messages", type=int, default=40_000, help="at most")
    parser.add_argument("--rounds", type=int, default=3)
    add_before(parser)


def run(given: argparse.Namespace) -> Outcome:
    """Measure each size with each recipient, in interleaved rounds."""
    samples = Samples()
    with Rig(given.output) as rig:
        programs = versions(given.before, rig.directory("before"))
        for number in range(given.rounds):
            names = in_turns(programs, number)
            for millis, size, name in itertools.product(given.recipient_ms, given.sizes, names):
                program = with_options(programs[name], *size.options)
                recipient = rig.own_recipient(delay_ms=millis) if millis else rig.recipient()
                trial = rig.trial(program, enough(size, millis, given.messages), recipient=recipient)
                if trial.faults:
                    raise SystemExit(f"WRONG: {size}, {name}: {', '.join(trial.faults)}")
                pss = sum(trial.pss_kib.values()) / 1024
                samples.add(name, where(size, millis), cpu=trial.micros, rate=trial.rate, pss=pss)
                shown = f"{trial.micros:.1f} µs/msg, {trial.rate:,.0f} msg/s"
                print(f"{millis} ms, {size}, {name}: {shown}", flush=True)
    return Outcome(render(samples, given), _line(samples, given), samples.listed())


def where(size: Size, millis: int) -> Where:
    """Return the place of a size with a recipient among the samples."""
    return Where(str(size), f"{millis} ms")


def enough(size: Size, millis: int, most: int) -> int:
    """Return how many messages keep all slots of a size busy for some seconds, at most ``most``."""
    return min(most, int(SECONDS * size.slots * 1000 / millis)) if millis else most


def render(samples: Samples, given: argparse.Namespace) -> str:
    """Render a row for each recipient and size."""
    rows = []
    for millis in given.recipient_ms:
        for size in given.sizes:
            most = f"{size.slots * 1000 / millis:,.0f}" if millis else ""
            cells = [samples.cell(where(size, millis), name) for name in ("rate", "cpu", "pss")]
            rows.append([f"{millis} ms", str(size), str(size.slots), most, *cells])
    columns = ["recipient takes", "consumers + senders", "slots", "slots ÷ latency", "msg/s", "CPU µs/msg", "PSS MiB"]
    return table(columns, rows)


def _line(samples: Samples, given: argparse.Namespace) -> str:
    """Return the CPU of each size with the first of the recipients."""
    millis = given.recipient_ms[0]
    shown = [f"{samples.median(NOW, where(size, millis), 'cpu'):.1f} µs at {size}" for size in given.sizes]
    return f"processes: {', '.join(shown)}"
