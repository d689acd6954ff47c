"""The soak: a steady load for an hour with a fault every ten seconds, while nothing may grow."""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, Final

from scripts.bench.comparison import machine
from scripts.faults import table
from scripts.faults.events import Held
from scripts.faults.evidence import write_evidence
from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.feeder import Feeder, Sampler
from scripts.faults.injectors import INJECTORS
from scripts.faults.injury import LATE_SECONDS
from scripts.faults.ledger import AGE_SECONDS, Ledger, rows_before, take_before
from scripts.faults.mix import OUTPUT
from scripts.faults.oracle import Seen, Verdict
from scripts.faults.program import CourierAdapter
from scripts.faults.trial import READY_SECONDS, apply_faults, drain, wait_until_empty, what_is_left, write_timeline
from scripts.faults.vitals import Slopes, Vitals, slopes
from scripts.faults.workload import Workload
from scripts.faults.world import World

FAULT_SECONDS: Final = 10.0
SLICE_SECONDS: Final = 30.0
RESULT: Final = "soak.json"
MOST_GROWTH: Final = 1.0
"""Memory, descriptors and CPU per message may grow by this many per cent in ten minutes."""

LEAST_SECONDS: Final = 3600.0
"""A shorter soak reports its slopes, but isn't judged by them."""

ROTATION: Final = (
    Fault("kill", "sender"),
    Fault("stop", "sender", lasts=3.0),
    Fault("sqs", "error", lasts=2.0),
    Fault("kill", "consumer"),
    Fault("outage", lasts=3.0),
    Fault("stop", "consumer", lasts=3.0),
    Fault("kill", "auditor"),
    Fault("sqs", "throttle", lasts=2.0, detail={"share": 0.5}),
    Fault("fail-disk", lasts=2.0, detail={"how": "full"}),
    Fault("stop", "auditor", lasts=2.0),
    Fault("outage", lasts=3.0, detail={"status": 503}),
    Fault("sqs", "reset", lasts=2.0),
)
"""The faults, in turn. None may hurt for so long that its backlog is still there when its turn comes again."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``soak``."""
    soak = commands.add_parser("soak", help="run a steady load with a fault every ten seconds")
    soak.add_argument("--seconds", type=float, default=3600.0, help="length of the load (3600)")
    soak.add_argument("--rate", type=float, default=2000.0, help="messages a second (2000)")
    soak.add_argument("--seed", type=int, default=0, help="seed of the load and the faults (0)")
    soak.add_argument("--output", type=Path, default=OUTPUT, help="folder of the results (build/faults)")
    soak.set_defaults(function=run_soak)


def soak_row(seconds: float, rate: float, seed: int) -> Row:
    """Return the load and the faults of a soak."""
    count = max(0, int((seconds - FAULT_SECONDS) / FAULT_SECONDS))
    known = [fault for fault in ROTATION if fault.what in INJECTORS]
    return Row(
        "soak",
        f"{rate:.0f} messages a second for {seconds / 60:.0f} minutes, a fault every {FAULT_SECONDS:.0f} s",
        Workload(round(seconds * rate), rate, seed=seed),
        tuple(_at(fault, number, seed) for number, fault in enumerate(islice(cycle(known), count))),
        limits=Limits(stall=None, dead=None),
        visibility=30,
    )


def run_soak(given: argparse.Namespace) -> int:
    """Run the soak, and write its result; return 1 if it did not hold."""
    directory = (given.output / "soak").absolute()
    shutil.rmtree(directory, ignore_errors=True)
    row = soak_row(given.seconds, given.rate, given.seed)
    print(f"{row.title}: {row.workload.messages} messages, {len(row.faults)} faults", flush=True)
    with World(row, CourierAdapter(), directory) as world:
        try:
            result = Soak(world).run()
        finally:
            write_timeline(world)
    growth: Slopes = result["slopes"]
    if given.seconds >= LEAST_SECONDS:
        result["failures"] += grown(growth)
    given.output.mkdir(parents=True, exist_ok=True)
    result |= {"slopes": growth._asdict(), "machine": machine()}
    result["table"] = table.soak_table(row.title, result["totals"], growth._asdict())
    (given.output / RESULT).write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result["totals"].items():
        print(f"    {name}: {value}")
    print(
        f"    growth in 10 minutes: {', '.join(f'{name} {value:+.2f} %' for name, value in growth._asdict().items())}"
    )
    for failure in result["failures"]:
        print(f"    FAILED: {failure}")
    print("the soak held" if not result["failures"] else f"the soak did not hold; see {directory}")
    return 1 if result["failures"] else 0


def grown(growth: Slopes) -> list[str]:
    """Return what grew too much, one reason a line."""
    return [
        f"{name} grew by {value:.1f} % in ten minutes, at most {MOST_GROWTH:.0f} % expected"
        for name, value in growth._asdict().items()
        if value > MOST_GROWTH
    ]


class Soak:
    """A soak in a world: what it has judged, and what it has yet to judge."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ledger = Ledger(self._write_evidence)
        self._rows = 0
        self._samples = 0
        self._held = [0] * (1 + len(world.gates))
        self._judged_at = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Run load and faults to their end, and return the result as JSON would have it."""
        world, row = self._world, self._world.row
        world.instance.wait_ready(READY_SECONDS)
        feeder = Feeder(world.queue, row.workload)
        sampler = Sampler(world.queue)
        vitals = Vitals(lambda: world.instance, lambda: len(world.recipient.deliveries))
        world.began = time.monotonic()
        errors: list[str] = []
        faults = threading.Thread(target=lambda: errors.extend(chain(*apply_faults(world))), name="faults")
        faults.start()
        while not feeder.finished:
            time.sleep(SLICE_SECONDS / 10)
            if time.monotonic() - self._judged_at >= SLICE_SECONDS:
                self._judge(feeder, sampler, time.monotonic() - AGE_SECONDS)
        feeder.wait(READY_SECONDS)
        faults.join()
        vitals.stop()
        wait_until_empty(world)
        sampler.stop()
        world.ending.set()
        errors += drain(world)
        self._judge(feeder, sampler, float("inf"), left=what_is_left(world.queue, world))
        return {
            "title": row.title,
            "totals": self._ledger.totals(),
            "failures": errors + self._ledger.failures(),
            "slopes": slopes(vitals.seen),
            "vitals": [list(each) for each in vitals.seen],
        }

    def _judge(self, feeder: Feeder, sampler: Sampler, before: float, **rest: Any) -> None:
        """Judge what was settled before a time."""
        world, ledger = self._world, self._ledger
        rows = rows_before(world.recipient.deliveries, self._rows, before)
        self._rows += len(rows)
        ledger.add(
            take_before(feeder.sent, before),
            rows,
            chain.from_iterable(
                take_before(notes, before) for gate in world.gates for notes in (gate.received, gate.lost)
            ),
            chain.from_iterable(take_before(gate.deletes, before) for gate in world.gates),
        )
        samples = [each for each in islice(sampler.samples, self._samples, None) if each.at < before]
        self._samples += len(samples)
        ledger.see_stalls(samples, [*world.windows, *world.recipient.away], rows)
        closed = ledger.judge(before, list(self._explained(before)), world.recorded(ledger.ids), **rest)
        for message_id in closed:
            world.recipient.accepted.pop(message_id, None)
        self._judged_at = time.monotonic()

    def _write_evidence(self, seen: Seen, verdict: Verdict) -> None:
        path = self._world.directory / f"evidence-{len(self._ledger.verdicts)}.txt"
        write_evidence(path, seen, verdict, self._world.began)

    def _explained(self, before: float) -> Iterator[Held]:
        """Yield what faults explain and was not yielded before."""
        world = self._world
        lists: list[Sequence[Held]] = [world.recipient.held, *(gate.held for gate in world.gates)]
        for number, held in enumerate(lists):
            # What is younger may be of messages that the ledger doesn't know yet.
            new = [each for each in held[self._held[number] :] if each.at < before]
            self._held[number] += len(new)
            yield from new
        deliveries, deleted = self._ledger.events
        for injury in list(world.injuries):
            if injury.end + LATE_SECONDS < before:
                # All that it explains has been seen.
                world.injuries.remove(injury)
                # There is one program only, and its gate has forgotten what it received.
                yield injury._replace(program=None).held(deliveries, deleted)


def _at(fault: Fault, number: int, seed: int) -> Fault:
    return replace(fault, at=FAULT_SECONDS * (number + 1), seed=seed + number)
