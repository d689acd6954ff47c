"""Several queues under kills, stops, reloads and pauses of some of them: nothing is lost, whatever happens when."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.several_queues import Program
from tests.process.world import Queue, Recipient, bodies, missing, until

STEPS = 8
KINDS = ["kill", "stop", "stop all", "kill a worker", "kill all", "reload", "pause", "remove", "scale"]


@pytest.fixture
def queues(virtual_queue: str) -> dict[str, Queue]:
    return {name: Queue(virtual_queue, {"VisibilityTimeout": "6"}) for name in ("one", "two", "three")}


@pytest.fixture
def program(tmp_path: Path, recipient: Recipient, queues: dict[str, Queue]) -> Iterator[Program]:
    options = {"senders": 2, "consumers": 1, "hang-timeout": 1, "visibility-timeout": 6}
    started = Program(tmp_path, recipient.url, queues, **options)
    yield started.wait_until_all_run()
    started.kill()


def strike(program: Program, name: str, chance: random.Random) -> str:
    """Do something bad to a queue, or something that an operator would do, and return what it was."""
    kind = chance.choice(
        ["kill", "stop", "stop all", "kill a worker", "kill all", "reload", "pause", "remove", "scale"]
    )
    supervisor = program.supervisor(name)
    with suppress(ProcessLookupError):
        if kind == "kill" and supervisor:
            os.kill(supervisor, signal.SIGKILL)
        elif kind == "stop" and supervisor:
            os.kill(supervisor, signal.SIGSTOP)
        elif kind == "stop all" and supervisor:
            os.killpg(supervisor, signal.SIGSTOP)
        elif kind == "kill all" and supervisor:
            os.killpg(supervisor, signal.SIGKILL)
        elif kind == "kill a worker" and (workers := program.workers(name)):
            os.kill(chance.choice(workers), signal.SIGKILL)
    if kind == "reload":
        program.write(**{name: {"concurrency": chance.randint(1, 32), "senders": chance.randint(1, 3)}})
        program.signal(signal.SIGHUP)
    elif kind == "pause":
        program.steered.act("pause", queue=name)
        program.steered.act("resume", queue=name)
    elif kind == "scale":
        program.steered.act("scale", queue=name, senders=chance.randint(1, 3))
    elif kind == "remove":
        kept = program.tables[name]
        program.write(**{name: None})
        program.signal(signal.SIGHUP)
        until(lambda: not program.of(name), 60, program.log)
        program.write(**{name: kept})
        program.signal(signal.SIGHUP)
    return kind


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, or isn't there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"
    except OSError:
        return True


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(2, 13))])
def test_whatever_strikes_some_queues_no_message_of_any_is_lost(
    program: Program, queues: dict[str, Queue], recipient: Recipient, seed: int
) -> None:
    chance = random.Random(seed)
    untouched, *struck = chance.sample(list(queues), 3)
    workers = program.workers(untouched)
    sent: dict[str, list[str]] = {name: [] for name in queues}
    done = []
    for _ in range(STEPS):
        for name, queue in queues.items():
            sent[name] += queue.send(bodies(10))
        name = chance.choice(struck)
        done.append(f"{strike(program, name, chance)} {name}")
        quiet = sent[untouched]
        # The one that nothing happens to delivers meanwhile.
        until(lambda quiet=quiet: not missing(quiet, recipient.accepted), 30, program.log)  # type: ignore[misc]

    def all_done() -> bool:
        return all(queue.counts() == (0, 0) for queue in queues.values())

    until(all_done, 90, lambda: f"{done}\n{program.log()}")
    assert program.workers(untouched) == workers
    # What is stopped when the drain begins may not finish in time.
    until(lambda: not [each for each in struck if is_stopped(program.supervisor(each))], 60, program.log)
    until(lambda: program.steered.done("status")["state"] == "ready", 60, program.log)
    assert program.drain() == 0, (done, program.log())
    for name, ids in sent.items():
        assert not missing(ids, recipient.accepted), (done, name)
        assert not missing(ids, program.recorded_of(name)), (done, name)
    assert {each for each in sent[untouched] if recipient.accepted[each] > 1} == set()
    assert not [pid for name in queues for pid in program.of(name)]
