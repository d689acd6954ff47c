"""A trial: a row of the table, run against a program and judged."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from scripts.faults.events import Received
from scripts.faults.evidence import write_evidence
from scripts.faults.fault import Fault, NothingHappened, Row
from scripts.faults.fault_queue import FaultQueue
from scripts.faults.feeder import Feeder, Sampler
from scripts.faults.injectors import INJECTORS
from scripts.faults.oracle import Seen, Verdict, judge
from scripts.faults.program import Adapter, ProgramFailed
from scripts.faults.several_queues import STRUCK, enter_worlds, run_each
from scripts.faults.world import World

READY_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.05
OFTEN_SECONDS: Final = 0.02
"""Seconds between two counts where a stall of half a second matters."""


@dataclass(frozen=True)
class Result:
    """The result of a trial: the verdict, and what else went wrong, one reason a line."""

    row: Row
    program: str
    verdict: Verdict
    failures: list[str]
    times: int
    """How many times a fault was applied."""
    seconds: float
    missed: list[str] = field(default_factory=list)
    """The faults that had nothing to hit, one reason a line. They are failures, too, unless the trial excuses them."""

    @property
    def held(self) -> bool:
        """Whether the promise held."""
        return not self.failures


class Applied(NamedTuple):
    """The faults of a row that failed, and those that had nothing to hit, one reason a line."""

    failures: list[str]
    missed: list[str]


def run_trial(
    row: Row, adapter: Adapter, directory: Path, *, judge_stall: bool = True, excuse_missed: bool = False
) -> Result:
    """Run a row against a program, with all its files in ``directory``, and judge it.

    A fault that had nothing to hit fails its trial, which then shows nothing, unless ``excuse_missed`` is given.
    Raise ProgramFailed if the program doesn't start at all. The timeline is written to ``directory/timeline.txt``,
    and what was seen of messages for which the promise did not hold to ``directory/evidence.txt``.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        worlds = enter_worlds(stack, row, adapter, directory)
        try:
            ran = run_each(_run, worlds)
        finally:
            for world in worlds:
                write_timeline(world)
    verdicts: list[Verdict] = []
    failures: list[str] = []
    missed: list[str] = []
    for world, (seen, failed, without_target) in zip(worlds, ran, strict=True):
        verdict = judge(seen)
        write_evidence(world.directory / "evidence.txt", seen, verdict, world.began)
        failed += verdict.failures(world.row.limits, judge_stall=judge_stall)
        if not excuse_missed:
            failed += without_target
        verdicts.append(verdict)
        failures += failed if world is worlds[0] else [f"{STRUCK} queue: {line}" for line in failed]
        missed += without_target
    times = sum(fault.times for fault in row.all_faults)
    return Result(row, adapter.name, verdicts[0], failures, times, time.monotonic() - began, missed)


def _run(world: World) -> tuple[Seen, list[str], list[str]]:
    """Run load and faults, and wait until the queue is empty; return what was seen, what failed, and what missed."""
    row = world.row
    feeder = Feeder(world.queue, row.workload) if row.workload.rate is None else None
    if feeder is not None:
        feeder.wait(READY_SECONDS)
    for program in world.programs:
        program.instance.wait_ready(READY_SECONDS)
    # A load that has begun before would be over too early for the faults, where a busy machine starts programs slowly.
    feeder = feeder or Feeder(world.queue, row.workload)
    sampler = Sampler(world.queue, OFTEN_SECONDS, world.unread) if row.unread else Sampler(world.queue)
    world.began = time.monotonic()
    world.note("the load begins")
    failures, missed = apply_faults(world)
    feeder.wait(_patience(row))
    wait_until_empty(world)
    world.note("the load has ended")
    sampler.stop()
    world.ending.set()
    failures += drain(world)
    left = what_is_left(world.queue, world)
    seen = Seen(
        sent=feeder.sent,
        deliveries=world.recipient.deliveries,
        received=_received(world),
        deletes=[delete for gate in world.gates for delete in gate.deletes],
        recorded=_recorded(world),
        left=left,
        dead=what_is_left(world.queue.dead, world) if world.queue.dead is not None else {},
        rejected=_rejected(world, feeder),
        held=list(world.held()),
        windows=[*world.windows, *world.recipient.away],
        samples=sampler.samples,
        unaudited=not world.audits,
    )
    for gate in world.gates:
        failures += [f"the gate failed: {error.get('exception') or error.get('message')}" for error in gate.errors]
    return seen, failures, missed


def apply_faults(world: World) -> Applied:
    """Apply the faults of the row, each from its time on, and wait for all of them."""
    applied = Applied([], [])

    def apply(fault: Fault) -> None:
        try:
            if world.wait(world.began + fault.at - time.monotonic()):
                INJECTORS[fault.what](world, fault)
        except NothingHappened as error:
            applied.missed.append(f"the fault {_name(fault)} had nothing to hit: {error}")
        except Exception as error:
            applied.failures.append(f"the fault {_name(fault)} failed: {error!r}")

    threads = [threading.Thread(target=apply, args=(fault,), name=fault.what) for fault in world.row.faults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return applied


def _name(fault: Fault) -> str:
    return f"{fault.what} {fault.whom}".rstrip()


def wait_until_empty(world: World) -> None:
    """Wait until the queue is empty, or the time that the row has for it is over."""
    deadline = time.monotonic() + world.row.settle_seconds
    while time.monotonic() < deadline and world.queue.state().total:
        time.sleep(LOOK_SECONDS)


def drain(world: World) -> list[str]:
    """Let all programs end in order; return what failed."""
    failures = []
    for program in world.programs:
        instance = program.instance
        if not instance.alive:
            failures.append(f"{instance.name} has ended: {instance.log()[-500:]}")
            continue
        try:
            code = instance.drain(DRAIN_SECONDS)
        except ProgramFailed as error:
            failures.append(str(error))
            continue
        if code != 0:
            failures.append(f"{instance.name} ended with {code} instead of 0")
    return failures


def what_is_left(queue: FaultQueue, world: World) -> dict[str, bytes]:
    """Return what a queue still holds. What is hidden for longer than its visibility timeout counts as left, too."""
    if not queue.state().total:
        return {}
    try:
        return queue.left()
    except TimeoutError as error:
        world.note(str(error))
        return {str(error): b""}


def _received(world: World) -> list[Received]:
    return [received for gate in world.gates for received in (*gate.received, *gate.lost)]


def _recorded(world: World) -> set[str]:
    if world.firehose is not None:
        return set(world.firehose.records) | set(world.firehose.rejected)
    records = world.watch.final()
    return set(records.delivered) | set(records.rejected)


def _rejected(world: World, feeder: Feeder) -> set[str]:
    """Return the messages whose body lies in the failure queue."""
    if world.failures is None:
        return set()
    bodies = set(what_is_left(world.failures, world).values())
    return {sent.message_id for sent in feeder.sent if sent.digest in bodies}


def _patience(row: Row) -> float:
    rate = row.workload.rate
    return 60.0 + 3 * (row.workload.messages / rate if rate else 0.0)


def write_timeline(world: World) -> None:
    """Write what the faults did, and when, into the directory of the trial."""
    lines = [f"{at - world.began:9.3f} {what}\n" for at, what in sorted(world.timeline)]
    (world.directory / "timeline.txt").write_text("".join(lines))
