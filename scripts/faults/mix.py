"""A random mix of loads, options and faults: each round is a row drawn from the seed and the number of the round."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from scripts.faults.fault import Limits, Row
from scripts.faults.mix_faults import Circumstances, draw_faults
from scripts.faults.mix_options import capacity, draw_options, flags
from scripts.faults.program import CourierAdapter, ProgramFailed
from scripts.faults.schedule import read_schedule, write_schedule
from scripts.faults.trial import Result, run_trial
from scripts.faults.workload import Workload

OUTPUT: Final = Path("build/faults")
LIMITS: Final = Limits(stall=None)
"""No limit of the stall fits every mix of faults, so stalls are only shown. All else is as strict as in the table."""

SETTLE_SECONDS: Final = 120.0
LEAST_CAPACITY: Final = 30.0
"""A round that can deliver fewer messages a second would show little."""

LOAD: Final = 0.5
"""The share of a program's capacity without faults that the load of a round takes."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands ``mix`` and ``again``."""
    mix = commands.add_parser("mix", help="run a random mix of loads, options and faults")
    mix.add_argument("--seconds", type=float, default=600.0, help="begin no new round after this many seconds (600)")
    mix.add_argument("--seed", type=int, default=None, help="seed of all rounds (a new one)")
    mix.add_argument("--round", type=int, default=None, help="run only this round of the seed")
    mix.add_argument("--output", type=Path, default=OUTPUT, help="folder of the results (build/faults)")
    mix.set_defaults(function=run_mix)
    again = commands.add_parser("again", help="run a trial again from the schedule in its folder")
    again.add_argument("folder", type=Path, help="folder that the suite kept of a trial")
    again.set_defaults(function=run_again)


def draw_row(seed: int, number: int) -> Row:
    """Return the row of a round."""
    chance = random.Random(f"{seed} {number}")
    given = Circumstances(
        seconds=chance.uniform(12.0, 30.0),
        visibility=chance.choice((3, 5, 8, 20)),
        programs=chance.choice((1, 1, 1, 2)),
        link=chance.random() < 0.4,
        clock=chance.random() < 0.2,
        files=chance.random() < 0.85,
        tls=chance.random() < 0.2,
    )
    options = draw_options(chance, given.visibility, firehose=not given.files)
    groups = chance.choice((0, 0, 1, 5, 50))
    answer_seconds = chance.choice((0.0, 0.0, 0.01, 0.1, 1.0))
    if capacity(options, groups, answer_seconds) < LEAST_CAPACITY:
        answer_seconds = 0.0
    # Several programs share the groups, and the machine.
    most = LOAD * capacity(options, groups, answer_seconds)
    return Row(
        name=f"mix-{seed}-{number}",
        title=f"mix of seed {seed}, round {number}",
        workload=_workload(chance, given.seconds, groups, most),
        faults=draw_faults(chance, given, chance.randint(1, 4)),
        limits=LIMITS,
        options=flags(options),
        visibility=given.visibility,
        failure_queue=chance.random() < 0.2,
        audit="files" if given.files else "firehose",
        tls=given.tls,
        link=given.link,
        clock=given.clock,
        answer_seconds=answer_seconds,
        programs=given.programs,
        more_options=tuple(_other_options(chance, given) for _ in range(given.programs - 1)),
        settle_seconds=SETTLE_SECONDS,
    )


def _other_options(chance: random.Random, given: Circumstances) -> tuple[str, ...]:
    """Draw the options in which another program differs from the first; half of the time there are none."""
    if chance.random() < 0.5:
        return ()
    others = draw_options(chance, given.visibility, firehose=not given.files)
    # A repeatable option would be given twice.
    return flags(others | {"--header": None})


def _workload(chance: random.Random, seconds: float, groups: int, most: float) -> Workload:
    """Draw a load of at most so many messages a second."""
    sizes = chance.choice(("small", "small", "mixed", (1, 2_000), (1, 65_536)))
    rate = min(most, chance.choice((60.0, 150.0) if sizes == "mixed" else (60.0, 150.0, 300.0, 600.0)))
    return Workload(
        messages=max(10, round(rate * seconds)),
        rate=round(rate, 2),
        groups=groups,
        sizes=sizes,
        attributes=chance.random() < 0.5,
        seed=chance.randrange(1 << 30),
    )


def run_mix(given: argparse.Namespace) -> int:
    """Run rounds until the time is over, or one; return 1 if one of them failed."""
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    end = time.monotonic() + given.seconds
    number, held, run = given.round or 0, 0, 0
    print(f"mix with seed {seed}", flush=True)
    while True:
        row = draw_row(seed, number)
        directory = (given.output / "mix" / f"seed-{seed}-round-{number}").absolute()
        run += 1
        if run_row(row, directory):
            held += 1
            if given.round is None:
                shutil.rmtree(directory)
        number += 1
        if given.round is not None or time.monotonic() >= end:
            break
    print(f"{held} of {run} rounds of seed {seed} held", flush=True)
    return 0 if held == run else 1


def run_again(given: argparse.Namespace) -> int:
    """Run a row from its schedule, in a new folder beside the old one; return 1 if it failed."""
    try:
        row = read_schedule(given.folder)
    except (OSError, ValueError) as error:
        print(f"cannot run {given.folder} again: {error}", file=sys.stderr)
        return 2
    folder = given.folder if given.folder.is_dir() else given.folder.parent
    directory = next(
        path for n in range(1, sys.maxsize) if not (path := folder.with_name(f"{folder.name}-again-{n}")).exists()
    )
    held = run_row(row, directory.absolute())
    print(f"{'it held' if held else 'it did not hold'}; its files are in {directory}")
    return 0 if held else 1


def run_row(row: Row, directory: Path) -> bool:
    """Run a row and print its result, and after a failure the command that runs it again from its folder."""
    shutil.rmtree(directory, ignore_errors=True)
    write_schedule(row, directory)
    print(f"{row.title}: {describe(row)}", flush=True)
    try:
        # Several faults at a time may leave one of them nothing to hit.
        result = run_trial(row, CourierAdapter(), directory, judge_stall=False, excuse_missed=True)
    except (ProgramFailed, TimeoutError) as error:
        failures = [str(error)]
    else:
        failures = result.failures
        print("\n".join(f"    {line}" for line in (summary(result), *result.missed)), flush=True)
    if not failures:
        return True
    (directory / "failures.txt").write_text("\n".join(failures) + "\n")
    for failure in failures:
        print(f"    FAILED: {failure}")
    print(f"    files in {directory}\n    again: python -m scripts.faults again {directory}", flush=True)
    return False


def describe(row: Row) -> str:
    """Return the load and the faults of a row in a line."""
    load = row.workload
    kind = f"{load.groups} groups" if load.groups else "standard"
    faults = ", ".join(
        " ".join(filter(None, (each.what, each.whom, str(each.detail.get("kind", "")), f"x{each.times}")))
        for each in row.faults
    )
    return f"{load.messages} messages at {load.rate:.0f}/s, {kind}, {row.programs} program(s), {row.audit}; {faults}"


def summary(result: Result) -> str:
    """Return the counts of a verdict in a line."""
    verdict = result.verdict
    return (
        f"times {result.times} lost {len(verdict.lost)} unrecorded {len(verdict.unrecorded)} "
        f"out of order {len(verdict.out_of_order)} duplicates {verdict.duplicates} {dict(verdict.explained)} "
        f"stall {verdict.stall:.1f} receives {verdict.receives:.2f}/{verdict.most_receives} {result.seconds:.0f} s"
    )
