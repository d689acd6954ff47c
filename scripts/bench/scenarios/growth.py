"""10 thousand to a million messages: whether the cost of a message and the memory stay constant."""

from __future__ import annotations

import argparse
from typing import Final

from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, numbers, table

HELP: Final = "CPU a message and memory over 10 thousand to a million messages"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of messages."""
    parser.add_argument("--counts", type=numbers, default=[10_000, 100_000, 1_000_000], help="separated by commas")


def run(given: argparse.Namespace) -> Outcome:
    """Measure each count."""
    rows, figures, costs = [], [], []
    roles = ("supervisor", "consumer", "sender", "auditor")
    with Rig(given.output) as rig:
        for count in given.counts:
            trial = rig.trial(courier(), count)
            largest = [max(trial.rss_kib.get(role, [0])) / 1024 for role in roles]
            rows.append(
                [f"{count:,}", f"{trial.micros:.1f}", f"{trial.rate:,.0f}", *(f"{size:.1f}" for size in largest)]
            )
            figures.append({"messages": count, "trial": trial})
            costs.append(trial.micros)
            print(f"{count} messages: {trial.micros:.1f} µs/msg", flush=True)
    columns = ["messages", "CPU µs/msg", "msg/s", *(f"RSS MiB, largest {role}" for role in roles)]
    shown = ", ".join(f"{cost:.1f} µs at {row[0]}" for cost, row in zip(costs, rows, strict=True))
    return Outcome(table(columns, rows), f"growth: {shown}", figures)
