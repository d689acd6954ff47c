"""The profile of Courier's microseconds: by role, by step, and below Python by system call and library.

Three trials do the same work. The first runs undisturbed, and measures the CPU of each role by the clocks of its
processes. The second samples Python stacks (see :mod:`scripts.bench.sampled`). In the third perf samples, if it is
allowed. The last two only give shares of what the first measured, so no figure includes their own cost.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from scripts.bench import perf
from scripts.bench.programs import COURIER, Program, courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import table
from scripts.bench.steps import Frame, count_lines, count_steps, read_stacks
from scripts.bench.trial import Running, Trial, wait_for_end, wait_for_start

ROLES: Final = ("consumer", "sender", "auditor")
LINES_SHOWN: Final = 25
LEAST_SHOWN: Final = 0.1
"""Microseconds below which a step or a place counts among all others."""


class Workload(NamedTuple):
    """The work of each trial of the profile."""

    messages: int
    body_bytes: int
    recipient: str
    options: tuple[str, ...]


class Profile(NamedTuple):
    """Microseconds a message by role: in all, by step, by place below Python (empty without perf), by line."""

    trial: Trial
    roles: dict[str, float]
    steps: dict[str, dict[str, float]]
    places: dict[str, dict[str, float]]
    lines: dict[str, dict[str, float]]


def profile(workload: Workload, rig: Rig) -> Profile:
    """Run the trials, and return the figures."""
    trial = rig.trial(courier(*workload.options), workload.messages, workload.body_bytes, workload.recipient)
    roles = {role: trial.cpu.roles[role].cpu / trial.messages * 1e6 for role in ROLES}
    stacks = _sample(workload, rig)
    places = _record(workload, rig)
    return Profile(
        trial,
        roles,
        {role: _scaled(count_steps(stacks[role]), roles[role]) for role in ROLES},
        {role: _scaled(places[role], roles[role]) for role in ROLES if role in places},
        {role: _scaled(count_lines(stacks[role]), roles[role]) for role in ROLES},
    )


def _scaled(counts: Counter[str], micros: float) -> dict[str, float]:
    """Divide the microseconds in proportion to the samples."""
    total = sum(counts.values())
    return {name: micros * count / total for name, count in counts.most_common()}


def _sample(workload: Workload, rig: Rig) -> dict[str, list[list[Frame]]]:
    """Run with a sampler in each worker. Return the stacks of each role within the window."""
    directory = rig.directory("stacks")
    command = (sys.executable, "-m", "scripts.bench.sampled", str(directory), *workload.options)
    before: dict[int, int] = {}
    roles: dict[int, str] = {}

    def begin(running: Running) -> None:
        before.update({int(path.stem): path.stat().st_size for path in directory.iterdir()})

    def finish(running: Running) -> None:
        roles.update({pid: usage.role for pid, usage in running.tree.usage().items()})

    _watch(Program(COURIER, command, audits=True), workload, rig, begin, finish)
    stacks: dict[str, list[list[Frame]]] = {role: [] for role in ROLES}
    for pid, role in roles.items():
        if role in stacks:
            text = (directory / f"{pid}.stacks").read_bytes()[before.get(pid, 0) :].decode(errors="replace")
            stacks[role] += read_stacks(text)
    return stacks


def _record(workload: Workload, rig: Rig) -> dict[str, Counter[str]]:
    """Run under perf. Return the samples of each role by place; nothing if perf isn't allowed."""
    if not perf.available(rig.workplace):
        print("perf isn't installed or isn't allowed here; going on without it", file=sys.stderr)
        return {}
    recordings: list[perf.Recording] = []
    places: dict[str, Counter[str]] = {role: Counter() for role in ROLES}

    def begin(running: Running) -> None:
        recordings.append(perf.Recording(running.tree.pids(), rig.workplace))

    def finish(running: Running) -> None:
        roles = {pid: usage.role for pid, usage in running.tree.usage().items()}
        for sample in recordings[0].stop():
            role = roles.get(sample.pid, "")
            if role in places:
                places[role][perf.place(sample)] += 1

    _watch(courier(*workload.options), workload, rig, begin, finish)
    return places


def _watch(
    program: Program,
    workload: Workload,
    rig: Rig,
    begin: Callable[[Running], None],
    finish: Callable[[Running], None],
) -> None:
    """Run a program on a full queue. Call ``begin`` at its first receive, and ``finish`` after the last delete."""
    queue = rig.queue(workload.messages, workload.body_bytes)
    recipient = rig.recipient(workload.recipient)
    with Running(program, queue, recipient.url, rig.directory("watched")) as running:
        wait_for_start(running, queue, workload.messages)
        begin(running)
        wait_for_end(running, queue, workload.messages)
        finish(running)
    recipient.stop()


def render(result: Profile) -> str:
    """Render the tables."""
    total = sum(result.roles.values())
    lines = [f"{total:.1f} µs a message, {result.trial.rate:,.0f} msg/s"]
    for role in ROLES:
        lines.append(f"\n{role}: {result.roles[role]:.1f} µs a message")
        lines += _table("by step", result.steps[role], 0.05)
        lines += _table("below Python", result.places.get(role, {}), 0.05)
    return "\n".join(lines)


def render_lines(result: Profile) -> str:
    """Render the most expensive lines, over all roles."""
    every = [(cost, role, line) for role in ROLES for line, cost in result.lines[role].items()]
    shown = sorted(every, reverse=True)[:LINES_SHOWN]
    return "\n".join(["dearest lines", *(f"  {cost:6.2f} µs  {role}: {line}" for cost, role, line in shown)])


def _table(title: str, figures: Mapping[str, float], least: float) -> list[str]:
    if not figures:
        return []
    rest = sum(cost for cost in figures.values() if cost < least)
    lines = [f"  {title}", *(f"    {cost:6.2f} µs  {name}" for name, cost in figures.items() if cost >= least)]
    return [*lines, f"    {rest:6.2f} µs  all others"] if rest else lines


def tables(result: Profile) -> str:
    """Render the steps, and what is below Python, as two Markdown tables with the roles side by side."""
    parts = [_side_by_side("step", result.steps, result.roles)]
    if result.places:
        parts.append(_side_by_side("below Python", result.places, result.roles))
    return "\n\n".join(parts)


def _side_by_side(title: str, figures: Mapping[str, Mapping[str, float]], roles: Mapping[str, float]) -> str:
    names = {name: sum(figures[role].get(name, 0.0) for role in ROLES) for those in figures.values() for name in those}
    dear = sorted((name for name, cost in names.items() if cost >= LEAST_SHOWN), key=lambda name: -names[name])
    rows = [[name, *(_micros(figures[role].get(name, 0.0)) for role in ROLES), _micros(names[name])] for name in dear]
    rest = [sum(cost for name, cost in figures[role].items() if name not in dear) for role in ROLES]
    rows.append(["all others", *map(_micros, rest), _micros(sum(rest))])
    rows.append(["**in all**", *(_micros(roles[role]) for role in ROLES), _micros(sum(roles.values()))])
    return table([f"{title}, µs a message", *ROLES, "in all"], rows)


def _micros(cost: float) -> str:
    return f"{cost:.1f}" if cost >= LEAST_SHOWN / 2 else ""
