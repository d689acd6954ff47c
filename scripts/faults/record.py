"""The result of a trial as a line: what the terminal shows, what results.json keeps, and what the table is made of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from scripts.faults.fault import Row
from scripts.faults.trial import Result
from scripts.faults.workload import SIZES, Workload

_NAMES: Final = {"mixed": "1 B to 64 KiB, some 1 MiB", "large": "1 MiB"}


@dataclass(frozen=True)
class Record:
    """The figures of a trial; times are seconds.

    ``duplicates`` counts deliveries, ``explained`` does so by reason; ``unexplained`` counts the messages with more.

    ``failures`` say what did not hold, one reason each. A trial that could not run has figures of 0 and its reason.
    ``slow`` says that the stall is above its limit, which fails only where stalls are judged.
    """

    name: str
    title: str
    program: str
    load: str
    seed: int = 0
    times: int = 0
    sent: int = 0
    lost: int = 0
    altered: int = 0
    unrecorded: int | None = 0
    out_of_order: int = 0
    duplicates: int = 0
    unexplained: int = 0
    explained: dict[str, int] = field(default_factory=dict)
    stall: float = 0.0
    receives: float = 0.0
    most_receives: int = 0
    slow: bool = False
    seconds: float = 0.0
    failures: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether the promise held."""
        return not self.failures

    @classmethod
    def of(cls, result: Result, audits: bool) -> Self:
        """Return the record of a trial; ``audits`` says whether its program keeps records."""
        row, verdict = result.row, result.verdict
        return cls(
            row.name,
            row.title,
            result.program,
            load(row),
            seed=row.workload.seed,
            times=result.times,
            sent=verdict.sent,
            lost=len(verdict.lost),
            altered=len(verdict.altered),
            unrecorded=len(verdict.unrecorded) if audits else None,
            out_of_order=len(verdict.out_of_order),
            duplicates=verdict.duplicates,
            unexplained=len(verdict.unexplained),
            explained=dict(verdict.explained),
            stall=round(verdict.stall, 3),
            receives=round(verdict.receives, 4),
            most_receives=verdict.most_receives,
            slow=row.limits.stall is not None and verdict.stall > row.limits.stall,
            seconds=round(result.seconds, 1),
            failures=tuple(result.failures),
        )

    @classmethod
    def of_failure(cls, row: Row, program: str, reason: str) -> Self:
        """Return the record of a trial that could not run."""
        return cls(row.name, row.title, program, load(row), seed=row.workload.seed, failures=(reason,))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record; raise OSError or ValueError if there is none."""
        return cls.parse(json.loads(path.read_text()))

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Return the record that a JSON object holds."""
        known = {each.name for each in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        return cls(**given | {"failures": tuple(values.get("failures", ()))})

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def line(self) -> str:
        """Return it as a line for the terminal."""
        beside = "" if self.program == "courier" else f" [{self.program}]"
        unrecorded = "–" if self.unrecorded is None else self.unrecorded
        reasons = ", ".join(f"{why}: {count}" for why, count in sorted(self.explained.items()))
        slow = ", above its limit" if self.slow else ""
        return (
            f"{'held  ' if self.held else 'FAILED'} {self.title}{beside}: {self.sent} sent, {self.times} times, "
            f"lost {self.lost}, unrecorded {unrecorded}, out of order {self.out_of_order}, "
            f"duplicates {self.duplicates}{f' ({reasons})' if reasons else ''}, unexplained {self.unexplained}, "
            f"stall {self.stall:.1f} s{slow}, receives {self.receives:.2f}, at most {self.most_receives}; "
            f"{self.seconds:.0f} s"
        )


def load(row: Row) -> str:
    """Return the load of a row in a few words, with what else is special about its world."""
    workload = row.workload
    parts = [f"{workload.messages:,}" + (f" at {workload.rate:,.0f}/s" if workload.rate else " at once")]
    if workload.sizes != "small":
        parts.append(_sizes(workload))
    if workload.groups:
        parts.append(f"FIFO, {workload.groups} group{'s' if workload.groups > 1 else ''}")
    if row.struck is not None:
        parts.append("beside another queue")
    if row.programs > 1:
        parts.append(f"{row.programs} at once")
    if row.server != "courier":
        parts.append(f"on {row.server}")
    if row.tls:
        parts.append("TLS")
    return ", ".join(parts)


def _sizes(workload: Workload) -> str:
    if isinstance(workload.sizes, str) and workload.sizes in SIZES:
        return _NAMES.get(workload.sizes, workload.sizes)
    least, most = (_bytes(count) for count in workload.bounds)
    return least if least == most else f"{least} to {most}"


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.0f} {unit}"
    return f"{count} B"
