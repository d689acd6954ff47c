"""A row as JSON, from which the same trial runs again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.workload import Workload

FILE: Final = "schedule.json"
"""The name of the file in the folder of a trial."""


def write_schedule(row: Row, directory: Path) -> Path:
    """Write a row into the folder of its trial; return the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE
    path.write_text(to_json(row))
    return path


def read_schedule(path: Path) -> Row:
    """Read a row from a file, or from the folder in which it lies. Raise OSError, or ValueError if it isn't one."""
    return from_json((path / FILE if path.is_dir() else path).read_text())


def to_json(row: Row) -> str:
    """Return a row as JSON, without its full length."""
    fields = asdict(row)
    for each in (fields, fields["struck"] or {}):
        each.pop("full", None)
    return json.dumps(fields, indent=1) + "\n"


def from_json(text: str) -> Row:
    """Return the row of :func:`to_json`. Raise ValueError for anything else."""
    try:
        return _row(json.loads(text))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not the schedule of a trial: {error!r}") from error


def _row(fields: dict[str, Any]) -> Row:
    workload = fields.pop("workload")
    sizes = workload.pop("sizes")
    struck = fields.pop("struck", None)
    return Row(
        **fields
        | {
            "workload": Workload(sizes=sizes if isinstance(sizes, str) else tuple(sizes), **workload),
            "faults": tuple(Fault(**each) for each in fields["faults"]),
            "limits": Limits(**fields["limits"]),
            "options": tuple(fields["options"]),
            "more_options": tuple(tuple(each) for each in fields["more_options"]),
            "struck": _row(struck) if struck else None,
        }
    )
