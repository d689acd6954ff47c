"""The comparison of programs: the same work for each, on one machine, in interleaved rounds of one run."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from scripts.bench.programs import BY_HAND, COURIER, Program
from scripts.bench.rig import Rig
from scripts.bench.scenario import table as markdown
from scripts.bench.trial import Trial

LEAST_MESSAGES: Final = 100

CPU: Final = "CPU µs/msg"
RATE: Final = "msg/s"


class Setting(NamedTuple):
    """The settings of a comparison; ``endpoint`` is that of a queue server other than the bench's own."""

    messages: int
    body_bytes: int
    rounds: int
    endpoint: str | None
    recipient: str
    output: Path


class Spread(NamedTuple):
    """The median over the rounds, and the range."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Return the spread over the rounds."""
    return Spread(statistics.median(values), min(values), max(values))


def compare(programs: Sequence[Program], setting: Setting) -> dict[str, list[Trial]]:
    """Run all programs in turn, round after round. Return the trials of each."""
    trials: dict[str, list[Trial]] = {program.name: [] for program in programs}
    with Rig(setting.output, endpoint=setting.endpoint) as rig:
        for number in range(setting.rounds):
            for program in programs:
                messages = max(LEAST_MESSAGES, int(setting.messages * program.share))
                trial = rig.trial(program, messages, setting.body_bytes, setting.recipient)
                trials[program.name].append(trial)
                print(f"round {number + 1}: {line(trial)}", flush=True)
    return trials


def line(trial: Trial) -> str:
    """Return a trial as one line."""
    faults = f"; WRONG: {', '.join(trial.faults)}" if trial.faults else ""
    return f"{trial.program} {trial.micros:.1f} µs/msg, {trial.rate:,.0f} msg/s{faults}"


_FIGURES: Final[dict[str, Callable[[Trial], float | None]]] = {
    CPU: lambda trial: trial.micros,
    RATE: lambda trial: trial.rate,
    "PSS MiB": lambda trial: sum(trial.pss_kib.values()) / 1024,
    "SQS calls/msg": lambda trial: trial.calls_per_message,
}


def summary(trials: dict[str, list[Trial]]) -> dict[str, dict[str, Spread]]:
    """Return the median and range of each figure of each program, without unknown figures."""
    table: dict[str, dict[str, Spread]] = {}
    for name, those in trials.items():
        table[name] = {}
        for figure, read in _FIGURES.items():
            values = [value for trial in those if (value := read(trial)) is not None]
            if values:
                table[name][figure] = spread(values)
    return table


def ratio(table: dict[str, dict[str, Spread]], name: str, figure: str) -> float | None:
    """Return a program's median as a multiple of Courier's."""
    ours, theirs = table.get(COURIER, {}).get(figure), table[name].get(figure)
    return theirs.median / ours.median if ours and theirs and ours.median else None


def render(table: dict[str, dict[str, Spread]]) -> str:
    """Render the table: each figure, its range in brackets, and its ratio to Courier's."""
    rows = []
    for name, figures in table.items():
        cells = []
        for figure in _FIGURES:
            times = ratio(table, name, figure)
            shown = str(figures[figure]) if figure in figures else "–"
            cells.append(shown if times is None or name == COURIER else f"{shown}, ×{times:.2f}")
        rows.append([name, *cells])
    return markdown(["program", *_FIGURES], rows)


def render_roles(trials: Sequence[Trial]) -> str:
    """Render the median of each role's use over the rounds."""
    rows = []
    for role in sorted({role for trial in trials for role in trial.cpu.roles}):
        those = [(trial, trial.cpu.roles[role]) for trial in trials if role in trial.cpu.roles]
        cpu = statistics.median(used.cpu / trial.messages * 1e6 for trial, used in those)
        kernel = statistics.median(used.kernel / trial.messages * 1e6 for trial, used in those)
        busy = statistics.median(used.cpu / trial.seconds for trial, used in those)
        pss = statistics.median(trial.pss_kib.get(role, 0) / 1024 for trial, _ in those)
        rows.append([role, str(those[0][1].processes), f"{cpu:.1f}", f"{kernel:.1f}", f"{busy:.0%}", f"{pss:.1f}"])
    return markdown(["role of courier", "processes", "CPU µs/msg", "in the kernel", "of a core", "PSS MiB"], rows)


def render_servers(trials: Sequence[Trial]) -> str:
    """Return one line with the cost of queue server and recipient, which run on the same cores."""
    used = {name: statistics.median(t.servers_cpu[name] for t in trials) for name in trials[0].servers_cpu}
    return "beside courier: " + ", ".join(f"{name} {cost:.1f} µs/msg" for name, cost in used.items())


def last_line(table: dict[str, dict[str, Spread]]) -> str:
    """Return the summary as one line."""
    ours = table[COURIER]
    micros, rate = ours[CPU].median, ours[RATE].median
    times = ratio(table, BY_HAND, CPU) if BY_HAND in table else None
    share = f"{1 / times:.1%} of by-hand, " if times else ""
    return f"courier: {micros:.1f} µs/msg, {share}{rate:,.0f} msg/s"


def machine() -> dict[str, Any]:
    """Return the machine and the software that the figures come from."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    with Path("/proc/loadavg").open() as file:
        load = file.read().split()[0]
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": float(load),
        "commit": git.stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a result as JSON. Named tuples and data classes become objects."""
    path.write_text(json.dumps(_plain(document), indent=2) + "\n")
    print(f"written: {path}")


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | str | None) else str(value)
