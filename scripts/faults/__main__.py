"""The command line of the fault tests: ``python -m scripts.faults COMMAND``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from scripts.faults import mix, peers, soak, table
from scripts.faults.catalogue import ROWS
from scripts.faults.catalogue.quick import COMPARED, QUICK
from scripts.faults.fault import Row
from scripts.faults.program import Adapter, CourierAdapter, ProgramFailed
from scripts.faults.record import Record
from scripts.faults.runs import RECORD, Run, Runs
from scripts.faults.schedule import write_schedule
from scripts.faults.trial import run_trial

PAGE: Final = Path("docs/faults.md")
README: Final = Path("README.md")
CACHE: Final = Path(sys.prefix) / "faults-peers"
PEERS: Final = ("by-hand", "sqs-consumer")
JOBS: Final = 2
QUICK_JOBS: Final = 3
"""Trials at the same time. Most of a trial is waiting, and where stalls are judged the machine must not be too busy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.faults", description="Test Courier's delivery promise under faults."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands)
    _add_trial(commands)
    _add_document(commands)
    mix.add_commands(commands)
    soak.add_command(commands)
    given = parser.parse_args(arguments)
    # sys.exit unwinds the stack, and so stops the programs that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    code: int = given.function(given)
    return code


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run the rows of the table, or a mix")
    _add_choice(run)
    run.add_argument("--quick", action="store_true", help="run a few short rows instead; long stalls fail none")
    run.add_argument("--peers", action="store_true", help="also run some rows against other programs")
    run.add_argument(
        "--jobs", type=int, metavar="N", help=f"trials to run at the same time ({JOBS}; {QUICK_JOBS} with --quick)"
    )
    run.add_argument("--keep", action="store_true", help="keep the files of rows that held, too")
    run.add_argument("--list", action="store_true", help="print the names of the rows and exit")
    run.add_argument("--seconds", type=int, metavar="N", help="run a random mix for N seconds instead of the rows")
    run.set_defaults(function=_run)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    names = [row.name for row in (*ROWS, *QUICK)]
    parser.add_argument(
        "--only", action="append", default=[], choices=names, metavar="NAME", help="run only this row; repeatable"
    )
    parser.add_argument("--full", action="store_true", help="run each row at its full length")
    parser.add_argument("--seed", type=int, default=0, help="seed of the load and of all that is left to chance (0)")
    parser.add_argument(
        "--program", choices=(table.COURIER, *PEERS), default=table.COURIER, help="the program under test (courier)"
    )
    parser.add_argument(
        "--ignore-stalls", action="store_true", help="report long stalls, but fail no row because of them"
    )
    parser.add_argument(
        "--output",
        type=lambda path: Path(path).absolute(),
        default=mix.OUTPUT.absolute(),
        help="folder of the results (build/faults)",
    )


def _run(given: argparse.Namespace) -> int:
    if given.seconds is not None:
        return main(["mix", "--seconds", str(given.seconds), "--seed", str(given.seed)])
    if given.list:
        print("\n".join(f"{row.name:30} {row.title}" for row in _rows(given)))
        return 0
    began = time.monotonic()
    runs = list(_runs(given))
    records: dict[Path, Record] = {}
    with Runs(given.jobs or (QUICK_JOBS if given.quick else JOBS), keep=given.keep) as running:
        for run, record in running.records(runs):
            records[run.directory] = record
            _show(run, record)
    ended = [records[run.directory] for run in runs]
    facts = {"full": given.full, "seed": given.seed, "seconds": round(time.monotonic() - began)}
    table.write(given.output, ended, facts, whole=not given.only and not given.quick and given.program == table.COURIER)
    print(f"{table.summary(ended)} ({facts['seconds']} s)")
    return 0 if all(record.held for record in ended if record.program == given.program) else 1


def _rows(given: argparse.Namespace) -> list[Row]:
    rows = QUICK if given.quick and not given.only else (*ROWS, *QUICK) if given.only else ROWS
    return [row for row in rows if not given.only or row.name in given.only]


def _runs(given: argparse.Namespace) -> Iterator[Run]:
    beside = [peer.name for peer in peers.peers(CACHE)] if given.peers else []
    for row in _rows(given):
        compared = beside if row.name in COMPARED else []
        for program in dict.fromkeys((given.program, *compared)):
            judge_stall = not given.quick and not given.ignore_stalls
            yield Run(row, program, given.seed, given.full, judge_stall, given.output)


def _show(run: Run, record: Record) -> None:
    print(record.line(), flush=True)
    for failure in record.failures:
        print(f"    {failure}", flush=True)
    # What a peer loses is a result, and not a failure of the suite.
    if record.failures and run.program == table.COURIER:
        print(f"    files in {run.directory}\n    again: {run.command}", flush=True)


def _add_trial(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    trial = commands.add_parser("trial", help="run one row in this process, and write its result.json")
    _add_choice(trial)
    trial.set_defaults(function=_trial, quick=False)


def _trial(given: argparse.Namespace) -> int:
    (row,) = _rows(given)
    run = Run(row, given.program, given.seed, given.full, not given.ignore_stalls, given.output)
    write_schedule(run.scaled, run.directory)
    adapter = _adapter(given.program)
    try:
        result = run_trial(run.scaled, adapter, run.directory, judge_stall=run.judge_stall)
        record = Record.of(result, adapter.audits)
    except ProgramFailed as error:
        record = Record.of_failure(run.scaled, run.program, str(error))
    record.write(run.directory / RECORD)
    return 0 if record.held else 1


def _adapter(program: str) -> Adapter:
    if program == table.COURIER:
        return CourierAdapter()
    adapter = peers.by_hand() if program == PEERS[0] else peers.sqs_consumer(CACHE)
    if adapter is None:
        raise SystemExit(f"{program} can't run here")
    return adapter


def _add_document(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    document = commands.add_parser("document", help="write the newest results into docs/faults.md and README.md")
    document.add_argument("--output", type=Path, default=mix.OUTPUT, help="folder of the results (build/faults)")
    document.add_argument("--page", type=Path, default=PAGE)
    document.add_argument("--readme", type=Path, default=README)
    document.set_defaults(function=_document)


def _document(given: argparse.Namespace) -> int:
    table.update(given.page, given.readme, given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
