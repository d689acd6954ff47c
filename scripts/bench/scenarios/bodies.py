"""Bodies from 100 bytes to 1 MiB: the cost of a message, and the throughput in MiB."""

from __future__ import annotations

import argparse
from typing import Final

from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, numbers, table

HELP: Final = "bodies of 100 B to 1 MiB"
SIZES: Final = "100,1000,10000,60000,100000,262144,1048576"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the sizes, and how much is sent of each."""
    parser.add_argument("--sizes", type=numbers, default=numbers(SIZES), help="bytes, separated by commas")
    parser.add_argument("--messages", type=int, default=20_000, help="at most, of each size")
    parser.add_argument("--mebibytes", type=int, default=400, help="at most, of each size")


def run(given: argparse.Namespace) -> Outcome:
    """Measure each size."""
    rows, figures = [], []
    with Rig(given.output) as rig:
        for size in given.sizes:
            messages = min(given.messages, max(100, given.mebibytes * 1024**2 // size))
            trial = rig.trial(courier(), messages, size)
            rate = trial.rate * size / 1024**2
            pss = sum(trial.pss_kib.values()) / 1024
            rows.append([f"{size:,}", f"{trial.micros:,.1f}", f"{trial.rate:,.0f}", f"{rate:,.0f}", f"{pss:,.0f}"])
            figures.append({"bytes": size, "trial": trial})
            print(f"{size} bytes: {trial.micros:,.1f} µs/msg", flush=True)
    columns = ["bytes", "CPU µs/msg", "msg/s", "MiB/s", "PSS MiB"]
    first, last = rows[0], rows[-1]
    return Outcome(table(columns, rows), f"bodies: {first[1]} µs at {first[0]} B, {last[1]} µs at {last[0]} B", figures)
