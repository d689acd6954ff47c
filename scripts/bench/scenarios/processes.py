"""From 1 + 1 to 8 + 16 processes: the cost of more of them."""

from __future__ import annotations

import argparse
import statistics
from typing import Final

from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, table

HELP: Final = "1 + 1 to 8 + 16 processes"
PAIRS: Final = ((1, 1), (1, 2), (2, 4), (4, 8), (8, 16))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the amount of work."""
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)


def run(given: argparse.Namespace) -> Outcome:
    """Measure each pair, in interleaved rounds."""
    trials = {pair: [] for pair in PAIRS}  # type: ignore[var-annotated]
    with Rig(given.output) as rig:
        for _ in range(given.rounds):
            for consumers, senders in PAIRS:
                program = courier("--consumers", str(consumers), "--senders", str(senders))
                trial = rig.trial(program, given.messages)
                trials[consumers, senders].append(trial)
                print(f"{consumers} + {senders}: {trial.micros:.1f} µs/msg, {trial.rate:,.0f} msg/s", flush=True)
    rows, shown = [], []
    for (consumers, senders), those in trials.items():
        micros = statistics.median(trial.micros for trial in those)
        rate = statistics.median(trial.rate for trial in those)
        pss = statistics.median(sum(trial.pss_kib.values()) / 1024 for trial in those)
        rows.append([f"{consumers} + {senders}", f"{micros:.1f}", f"{rate:,.0f}", f"{pss:.0f}"])
        shown.append(f"{micros:.1f} µs at {consumers}+{senders}")
    figures = [{"consumers": c, "senders": s, "trials": those} for (c, s), those in trials.items()]
    columns = ["consumers + senders", "CPU µs/msg", "msg/s", "PSS MiB"]
    return Outcome(table(columns, rows), f"processes: {', '.join(shown)}", figures)
