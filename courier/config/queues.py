"""The ``[[queue]]`` tables of the file of ``--config``: queues with options and processes of their own.

What stands above the tables, and what options and variables say, are the values that all queues start from. A table is
nearer to its queue, so it wins. A table with a wrong value is kept with its problem: it harms only its own queue when
the file is read again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from os.path import realpath
from pathlib import Path
from typing import Any, Final, NamedTuple

from courier.audit.archive_place import SCHEME
from courier.config.config import OPTIONS, Config
from courier.config.option import Option, type_problem
from courier.errors import ConfigError

KEY: Final = "queue"
MOST_QUEUES: Final = 64
"""Maximum number of tables. Each queue has at least four processes of its own."""

OF_PROGRAM: Final = frozenset(
    {
        *("api", "api_host", "page", "control", "page_control", "log_format"),
        *("watch_termination", "drain_on_rebalance", "lifecycle_hook", "task_protection"),
    }
)
"""Options of the first process, of the API and of the watcher, of which there is one for all queues."""

STATE: Final = "queues"
"""The directory beside that of --audit-path which has a directory for each queue."""

RESERVED: Final = frozenset({"supervisor", "api", "consumer", "sender", "auditor", "scheduler", "watcher", "queue"})
"""Names of processes, which ps shows where it would show the queue's."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class QueueTable(NamedTuple):
    """A table: its ``name``, the values of the fields of Config that it gives, and what is wrong with it."""

    name: str
    values: Mapping[str, Any]
    problem: str = ""


def read_tables(path: Path, tables: object) -> list[QueueTable]:
    """Return the tables in ``tables``, the value of the key ``queue``. Raise ConfigError about their names."""
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f"{path}: write [[queue]], with two brackets, above the options of each queue")
    if not 1 <= len(tables) <= MOST_QUEUES:
        raise ConfigError(f"{path}: there must be 1 to {MOST_QUEUES} tables [[queue]], not {len(tables)}")
    found: list[QueueTable] = []
    for number, table in enumerate(tables, 1):
        name = table.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in RESERVED:
            raise ConfigError(
                f"{path}, [[queue]] {number}: name must be up to 40 letters (a to z), digits and -, and no name of a "
                "process; give each queue a short name for logs, metrics and --queue"
            )
        if name in [each.name for each in found]:
            raise ConfigError(f"{path}: two tables [[queue]] have the name {name}; give each its own")
        found.append(_read_table(name, table))
    return found


def _read_table(name: str, table: Mapping[str, Any]) -> QueueTable:
    names = {option.key: field for field, option in OPTIONS.items()}
    values: dict[str, Any] = {}
    try:
        for key, value in table.items():
            if key == "name":
                continue
            field = names.get(key.replace("_", "-"))
            if field is None:
                near = get_close_matches(key.replace("_", "-"), names, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else "courier --help lists them"
                raise ConfigError(f"there is no option {key!r}; {hint}")
            if field in OF_PROGRAM:
                raise ConfigError(f"{key} belongs to the whole program; write it above the tables")
            values[field] = _read_value(key, value, OPTIONS[field])
    except ConfigError as error:
        return QueueTable(name, values, str(error))
    return QueueTable(name, values)


def _read_value(key: str, value: Any, option: Option) -> Any:
    if reason := type_problem(value, option):
        raise ConfigError(f"{key} must be {reason}")
    try:
        return option.parse(value)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def own_values(table: QueueTable, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a queue has of its own: those of its table, and places where no other queue may write.

    Without an audit path of its own, ``/var/lib/courier/audit`` of all becomes ``/var/lib/courier/queues/NAME/audit``.
    """
    own = {"queue": "", **table.values}
    if "audit_path" not in own:
        path: Path = common["audit_path"]
        own["audit_path"] = path.parent / STATE / table.name / path.name
    archive = common["audit_archive"]
    if "audit_archive" not in own and archive and archive.startswith(SCHEME):
        own["audit_archive"] = f"{archive.rstrip('/')}/{table.name}"
    return own


def clash(config: Config, others: Mapping[str, Config]) -> str:
    """Return why a queue can't run beside ``others``, which are by name; empty if it can."""
    for name, other in others.items():
        for key, what in _shared(config, other):
            if key:
                return f"{what} is that of queue {name} too; give each queue its own"
    return ""


def _at(config: Config) -> tuple[str | None, ...]:
    return config.queue.rstrip("/"), config.region, config.endpoint_url


def _shared(config: Config, other: Config) -> Sequence[tuple[bool, str]]:
    remote = config.queue_type == other.queue_type == "remote"
    at = _at(config) == _at(other)
    files = config.audit == other.audit == "files"
    return (
        (remote and at, f"queue {config.queue}" if "://" not in config.queue else "queue"),
        (
            config.queue_type == other.queue_type == "virtual" and config.endpoint_url == other.endpoint_url,
            "the address of the queue in memory (endpoint-url)",
        ),
        (
            files and realpath(config.audit_path) == realpath(other.audit_path),
            f"audit-path {config.audit_path}",
        ),
        (
            files and config.audit_archive is not None and config.audit_archive == other.audit_archive,
            f"audit-archive {config.audit_archive}",
        ),
    )
