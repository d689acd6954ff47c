"""A queue that is some milliseconds away: how many messages come through, by the number of consumers."""

from __future__ import annotations

import argparse
from typing import Final

from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, numbers, table

HELP: Final = "a queue that takes 15 ms for each call"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the distance and the numbers of consumers."""
    parser.add_argument("--latency-ms", type=float, default=15.0, help="of each call to the queue")
    parser.add_argument("--consumers", type=numbers, default=[1, 2, 4, 8, 16], help="separated by commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long each takes")


def run(given: argparse.Namespace) -> Outcome:
    """Measure each number of consumers."""
    rows, figures = [], []
    with Rig(given.output, latency_ms=given.latency_ms) as rig:
        for consumers in given.consumers:
            # A consumer has one call under way at a time, which brings ten messages.
            bound = consumers * 10 / (given.latency_ms / 1000)
            trial = rig.trial(courier("--consumers", str(consumers)), int(bound * given.seconds))
            calls = trial.calls_per_message or 0.0
            row = [
                str(consumers),
                f"{trial.rate:,.0f}",
                f"{trial.rate / bound:.0%}",
                f"{trial.micros:.1f}",
                f"{calls:.3f}",
            ]
            rows.append(row)
            figures.append({"consumers": consumers, "bound": bound, "trial": trial})
            print(f"{consumers} consumers: {trial.rate:,.0f} msg/s", flush=True)
    columns = ["consumers", "msg/s", "of the bound", "CPU µs/msg", "SQS calls/msg"]
    shown = ", ".join(f"{row[1]} msg/s with {row[0]}" for row in rows)
    return Outcome(table(columns, rows), f"distance {given.latency_ms:g} ms: {shown}", figures)
