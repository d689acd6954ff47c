"""A random mix of loads, options and faults: each round is a row drawn from the seed and the number of the round."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Final

from scripts.faults.fault import Limits, Row
from scripts.faults.mix_faults import Circumstances, draw_faults
from scripts.faults.mix_options import WIDE, capacity, draw_options, flags
from scripts.faults.program import CourierAdapter, ProgramFailed
from scripts.faults.schedule import read_schedule, write_schedule
from scripts.faults.sqs_servers import Kind, node_missing
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

MOTO_RATE: Final = 4.0
"""Messages a second on moto, which answers some ten calls a second."""


class Outcome(Enum):
    """What a round shows. One whose faults all had nothing to hit shows nothing."""

    HELD = "held"
    FAILED = "failed"
    MET_NOTHING = "met nothing"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands ``mix`` and ``again``."""
    mix = commands.add_parser("mix", help="run a random mix of loads, options and faults")
    mix.add_argument("--seconds", type=float, default=600.0, help="begin no new round after this many seconds (600)")
    mix.add_argument("--seed", type=int, default=None, help="seed of all rounds (a new one)")
    mix.add_argument("--round", type=int, default=None, help="run only this round of the seed")
    mix.add_argument("--wide", action="store_true", help="give Courier 8 consumers and 16 senders in each round")
    mix.add_argument("--output", type=Path, default=OUTPUT, help="folder of the results (build/faults)")
    mix.set_defaults(function=run_mix)
    again = commands.add_parser("again", help="run a trial again from the schedule in its folder")
    again.add_argument("folder", type=Path, help="folder that the suite kept of a trial")
    again.set_defaults(function=run_again)


def draw_row(seed: int, number: int, *, wide: bool = False) -> Row:
    """Return the row of a round; a ``wide`` one has as many consumers and senders as are ever drawn."""
    chance = random.Random(f"{seed} {number}")
    given = _circumstances(chance)
    options = draw_options(chance, given.visibility, firehose=not given.files)
    options |= (WIDE if wide else {}) | ({"--consumers": 1} if given.server == "moto" else {})
    groups = 0 if given.server == "moto" else chance.choice((0, 0, 1, 5, 50))
    answer_seconds = chance.choice((0.0, 0.0, 0.01, 0.1, 1.0))
    if capacity(options, groups, answer_seconds) < LEAST_CAPACITY:
        answer_seconds = 0.0
    return Row(
        name=f"mix-{seed}-{number}{'-wide' if wide else ''}",
        title=f"mix of seed {seed}, round {number}{', wide' if wide else ''}",
        workload=_workload(chance, given, groups, LOAD * capacity(options, groups, answer_seconds)),
        faults=draw_faults(chance, given, chance.randint(1, 4)),
        limits=LIMITS,
        options=flags(options),
        visibility=given.visibility,
        failure_queue=chance.random() < 0.2,
        server=given.server,
        audit="files" if given.files else "firehose",
        tls=given.tls,
        link=given.link,
        clock=given.clock,
        credentials=given.credentials,
        answer_seconds=answer_seconds,
        programs=given.programs,
        more_options=tuple(_other_options(chance, given) for _ in range(given.programs - 1)),
        settle_seconds=SETTLE_SECONDS,
    )


def _circumstances(chance: random.Random) -> Circumstances:
    server: Kind = chance.choices(("courier", "fauxqs", "moto"), (88, 9, 3))[0]
    return Circumstances(
        seconds=chance.uniform(12.0, 30.0),
        # The answers of moto take a good part of a short lease.
        visibility=chance.choice((8, 20) if server == "moto" else (3, 5, 8, 20)),
        programs=1 if server == "moto" else chance.choice((1, 1, 1, 2)),
        link=chance.random() < 0.4,
        clock=chance.random() < 0.2,
        files=chance.random() < 0.85,
        tls=chance.random() < 0.2,
        credentials=chance.random() < 0.2,
        server=server,
    )


def _other_options(chance: random.Random, given: Circumstances) -> tuple[str, ...]:
    """Draw the options in which another program differs from the first; half of the time there are none."""
    if chance.random() < 0.5:
        return ()
    others = draw_options(chance, given.visibility, firehose=not given.files)
    # A repeatable option would be given twice.
    return flags(others | {"--header": None})


def _workload(chance: random.Random, given: Circumstances, groups: int, most: float) -> Workload:
    """Draw a load of at most so many messages a second: programs share the groups, and the machine."""
    sizes = chance.choice(("small", "small", "mixed", (1, 2_000), (1, 65_536)))
    rate = min(most, chance.choice((60.0, 150.0) if sizes == "mixed" else (60.0, 150.0, 300.0, 600.0)))
    rate = MOTO_RATE if given.server == "moto" else rate
    return Workload(
        messages=max(10, round(rate * given.seconds)),
        rate=round(rate, 2),
        groups=groups,
        sizes=sizes,
        attributes=chance.random() < 0.5,
        beyond_bmp=given.server == "courier",
        seed=chance.randrange(1 << 30),
    )


def run_mix(given: argparse.Namespace) -> int:
    """Run rounds until the time is over, or one; return 1 if one of them failed."""
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    end = time.monotonic() + given.seconds
    number = given.round or 0
    outcomes: Counter[Outcome] = Counter()
    print(f"mix with seed {seed}", flush=True)
    while True:
        row = draw_row(seed, number, wide=given.wide)
        if row.server == "fauxqs" and node_missing():
            row = replace(row, server="courier")
        directory = (given.output / "mix" / row.name.replace("mix-", "seed-")).absolute()
        outcome = run_row(row, directory)
        outcomes[outcome] += 1
        if outcome is not Outcome.FAILED and given.round is None:
            shutil.rmtree(directory)
        number += 1
        if given.round is not None or time.monotonic() >= end:
            break
    print(f"seed {seed}: {', '.join(f'{outcomes[each]} {each.value}' for each in Outcome)}", flush=True)
    return 1 if outcomes[Outcome.FAILED] else 0


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
    outcome = run_row(row, directory.absolute())
    print(f"{outcome.value}; its files are in {directory}")
    return 1 if outcome is Outcome.FAILED else 0


def run_row(row: Row, directory: Path) -> Outcome:
    """Run a row and print its result, and after a failure the command that runs it again from its folder."""
    shutil.rmtree(directory, ignore_errors=True)
    write_schedule(row, directory)
    print(f"{row.title}: {describe(row)}", flush=True)
    try:
        # Several faults at a time may leave one of them nothing to hit.
        result = run_trial(row, CourierAdapter(), directory, judge_stall=False, excuse_missed=True)
    except (ProgramFailed, TimeoutError) as error:
        outcome, failures = Outcome.FAILED, [str(error)]
    else:
        outcome, failures = outcome_of(result), result.failures
        print("\n".join(f"    {line}" for line in (summary(result), *result.missed)), flush=True)
    if outcome is not Outcome.FAILED:
        print(f"    {outcome.value}", flush=True)
        return outcome
    (directory / "failures.txt").write_text("\n".join(failures) + "\n")
    for failure in failures:
        print(f"    FAILED: {failure}")
    print(f"    files in {directory}\n    again: python -m scripts.faults again {directory}", flush=True)
    return outcome


def outcome_of(result: Result) -> Outcome:
    """Return the outcome of a trial that excuses faults with nothing to hit."""
    if result.failures:
        return Outcome.FAILED
    return Outcome.MET_NOTHING if len(result.missed) == len(result.row.faults) else Outcome.HELD


def describe(row: Row) -> str:
    """Return the load and the faults of a row in a line."""
    load = row.workload
    kind = f"{load.groups} groups" if load.groups else "standard"
    server = "" if row.server == "courier" else f" on {row.server}"
    faults = ", ".join(
        " ".join(filter(None, (each.what, each.whom, str(each.detail.get("kind", "")), f"x{each.times}")))
        for each in row.faults
    )
    world = f"{kind}{server}, {row.programs} program(s), {row.audit}"
    return f"{load.messages} messages at {load.rate:.0f}/s, {world}; {faults}"


def summary(result: Result) -> str:
    """Return the counts of a verdict in a line."""
    verdict = result.verdict
    return (
        f"times {result.times} lost {len(verdict.lost)} unrecorded {len(verdict.unrecorded)} "
        f"out of order {len(verdict.out_of_order)} duplicates {verdict.duplicates} {dict(verdict.explained)} "
        f"stall {verdict.stall:.1f} receives {verdict.receives:.2f}/{verdict.most_receives} {result.seconds:.0f} s"
    )
