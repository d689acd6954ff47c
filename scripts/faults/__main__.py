"""``python -m scripts.faults COMMAND``: puts the promise to the test."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

from scripts.faults import mix, soak
from scripts.faults.catalogue import ROWS
from scripts.faults.program import CourierAdapter, ProgramFailed
from scripts.faults.trial import run_trial

OUTPUT: Final = Path("build/faults")


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m scripts.faults", description="Put Courier's promise to the test.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the rows of the table")
    run.add_argument("--only", action="append", default=[], metavar="NAME", help="run only these rows")
    run.add_argument("--full", action="store_true", help="each row in its full length")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--output", type=Path, default=OUTPUT)
    run.set_defaults(function=_run)
    mix.add_commands(commands)
    soak.add_command(commands)
    given = parser.parse_args()
    # Every exit must stop the programs that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(given.function(given))


def _run(given: argparse.Namespace) -> int:
    rows = [row for row in ROWS if not given.only or row.name in given.only]
    held = 0
    for row in rows:
        chosen = (row.full or row) if given.full else row
        directory = given.output.absolute() / row.name
        shutil.rmtree(directory, ignore_errors=True)
        try:
            result = run_trial(chosen.seeded(given.seed), CourierAdapter(), directory)
        except ProgramFailed as error:
            print(f"{row.name}: {error}", flush=True)
            continue
        verdict = result.verdict
        held += result.held
        print(
            f"{row.title}: times {result.times} sent {verdict.sent} lost {len(verdict.lost)} "
            f"unrecorded {len(verdict.unrecorded)} out of order {len(verdict.out_of_order)} "
            f"duplicates {verdict.duplicates} {dict(verdict.explained)} stall {verdict.stall:.2f} "
            f"receives {verdict.receives:.3f}/{verdict.most_receives} {result.seconds:.0f} s",
            flush=True,
        )
        for failure in result.failures:
            print(f"    {failure}", flush=True)
    print(f"{held} of {len(rows)} held")
    return 0 if held == len(rows) else 1


if __name__ == "__main__":
    main()
