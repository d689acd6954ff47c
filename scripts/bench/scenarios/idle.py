"""An empty queue: the cost of waiting."""

from __future__ import annotations

import argparse
import time
from typing import Final

from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, table
from scripts.bench.trial import Running
from scripts.bench.window import come_to_rest, open_window

HELP: Final = "8 + 16 processes on an empty queue"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the processes and the time."""
    parser.add_argument("--consumers", type=int, default=8)
    parser.add_argument("--senders", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=45.0, help="a long poll takes 20")


def run(given: argparse.Namespace) -> Outcome:
    """Measure an idle period."""
    program = courier("--consumers", str(given.consumers), "--senders", str(given.senders))
    with Rig(given.output) as rig:
        queue = rig.queue()
        recipient = rig.recipient()
        with Running(program, queue, recipient.url, rig.directory("idle")) as running:
            come_to_rest([(running, queue)])
            opened = open_window(running, queue)
            time.sleep(given.seconds)
            window = opened.close()
        recipient.stop()
    seconds, cpu, received = window.seconds, window.cpu, window.calls["ReceiveMessage"]
    rows = [
        [role, str(used.processes), f"{used.cpu / seconds:.3%}", f"{window.wakes[role] / seconds / used.processes:.1f}"]
        for role, used in sorted(cpu.roles.items())
    ]
    polls = received / seconds * 60
    found = f"{cpu.total / seconds:.2%} of a core, {polls:.1f} receives a minute"
    shown = table(["role", "processes", "of a core, all of them", "wakes/s, each"], rows)
    figures = {"seconds": seconds, "cpu": cpu, "switches": window.wakes, "receives": received}
    return Outcome(f"{shown}\n\nIn all {found}, over {seconds:.0f} s.", f"idle: {found}", figures)
