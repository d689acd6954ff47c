"""A queue that is some milliseconds away: the throughput by the number of consumers."""

from __future__ import annotations

import argparse
import os
from typing import Final

from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, numbers, table

HELP: Final = "a queue that takes 15 ms for each call"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the distance, the numbers of consumers and the amount of work."""
    parser.add_argument("--latency-ms", type=float, default=15.0, help="of each call to the queue")
    parser.add_argument("--consumers", type=numbers, default=[1, 2, 4, 8], help="separated by commas")
    parser.add_argument("--messages", type=int, default=60_000)


def run(given: argparse.Namespace) -> Outcome:
    """Measure each number of consumers."""
    rows, figures = [], []
    with Rig(given.output, latency_ms=given.latency_ms) as rig:
        for consumers in given.consumers:
            trial = rig.trial(courier("--consumers", str(consumers)), given.messages)
            # One call after another, each with ten messages.
            one_by_one = consumers * 10 / (given.latency_ms / 1000)
            servers = sum(trial.servers_cpu.values())
            machine = (trial.micros + servers) * trial.rate / 1e6 / (os.cpu_count() or 1)
            row = [
                str(consumers),
                f"{trial.rate:,.0f}",
                f"{one_by_one:,.0f}",
                f"{trial.micros:.1f}",
                f"{trial.calls_per_message or 0.0:.3f}",
                f"{machine:.0%}",
            ]
            rows.append(row)
            figures.append({"consumers": consumers, "one_by_one": one_by_one, "machine": machine, "trial": trial})
            print(f"{consumers} consumers: {trial.rate:,.0f} msg/s, machine {machine:.0%}", flush=True)
    columns = ["consumers", "msg/s", "one call after another", "CPU µs/msg", "SQS calls/msg", "of all cores"]
    shown = ", ".join(f"{row[1]} msg/s with {row[0]}" for row in rows)
    return Outcome(table(columns, rows), f"distance {given.latency_ms:g} ms: {shown}", figures)
