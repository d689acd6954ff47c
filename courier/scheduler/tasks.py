"""The periodic tasks of a ``cron.yaml``, version 1, as Elastic Beanstalk's worker tier reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from courier.errors import CannotStart
from courier.request.paths import PathError, read_path
from courier.scheduler.schedule import Schedule, parse_schedule

OPTION: Final = "--cron"
MOST_BYTES: Final = 1 << 20
MOST_TASKS: Final = 1000
LONGEST_NAME: Final = 100
"""The most characters of a name: it is a header of each delivery, and part of the group in a FIFO queue."""

_KEYS: Final = ("name", "url", "schedule")


class Task(NamedTuple):
    """A periodic task: its name, the path that it is delivered to, and when it is due."""

    name: str
    path: str
    schedule: Schedule


def read_tasks(file: Path) -> tuple[Task, ...]:
    """Return the tasks of a file. Raise CannotStart, which names the file, the task and what would be right."""
    text = _text_of(file)
    # Imported here, because few programs have periodic tasks.
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        _refuse(file, f'is not YAML{where}; quote schedules, as in schedule: "0 23 * * *"')
    if not isinstance(found, dict) or found.get("version") != 1 or isinstance(found["version"], bool):
        _refuse(file, "has no version that Courier knows; begin it with: version: 1")
    entries = found.get("cron")
    if not isinstance(entries, list) or len(entries) > MOST_TASKS:
        _refuse(file, f"has no list of at most {MOST_TASKS} tasks; give it one with the key cron")
    tasks = tuple(_tasks(file, entries))
    names = [task.name for task in tasks]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        _refuse(file, f"has two tasks with the name {twice!r}; give each one a name of its own")
    return tasks


def _tasks(file: Path, entries: list[Any]) -> Iterator[Task]:
    for number, entry in enumerate(entries, 1):
        which = f"has a task, number {number},"
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in _KEYS):
            _refuse(file, f"{which} that is not complete; give it a name, a url and a schedule, all of them texts")
        name, url, schedule = (entry[key].strip() for key in _KEYS)
        if not name.isascii() or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            _refuse(file, f"{which} with a bad name; use 1 to {LONGEST_NAME} characters of printable ASCII")
        which = f"has the task {name!r}"
        try:
            # As for aws-sqsd, "backup" is "/backup".
            path = read_path(url if url.startswith("/") else f"/{url}")
        except PathError as error:
            _refuse(file, f"{which} whose url is not a path: {error}; give one like /backup")
        try:
            yield Task(name, path, parse_schedule(schedule))
        except ValueError as error:
            _refuse(file, f"{which} with a bad schedule; it {error}")


def _text_of(file: Path) -> str:
    """Read the file, which may be a link, as in Kubernetes, but no pipe or device: those may never end."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                _refuse(file, "is not a regular file; name a cron.yaml")
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise CannotStart(f"{OPTION}: cannot read {file}: {error.strerror}; give a readable cron.yaml") from None
    if len(content) > MOST_BYTES:
        _refuse(file, f"has more than {MOST_BYTES:,} bytes; name a cron.yaml")
    try:
        return content.decode()
    except UnicodeDecodeError:
        _refuse(file, "is not UTF-8; name a cron.yaml")


def _refuse(file: Path, what: str) -> NoReturn:
    raise CannotStart(f"{OPTION}: {file} {what}")
