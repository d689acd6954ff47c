"""The loading of the configuration: the file of ``--config``, and the environment, which only this module reads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from courier.config.checks import refuse
from courier.config.config import OPTIONS
from courier.config.option import VARIABLE_PREFIX, type_problem
from courier.config.queues import KEY, QueueTable, read_tables
from courier.errors import ConfigError

WEBHOOK_SECRET_VARIABLE: Final = f"{VARIABLE_PREFIX}WEBHOOK_SECRET"
MOST_BYTES: Final = 1 << 20
"""Most bytes of a file of options. Reading a device would never end."""

_PLACE: Final = re.compile(r"at line [0-9]+, column [0-9]+|at end of document")


def variable(name: str) -> str:
    """Return a variable of the environment, empty if it isn't set. It serves what must be known before the options."""
    return os.environ.get(name, "")


class OptionsFile(NamedTuple):
    """A file of options: the values by field, and the tables ``[[queue]]``.

    The values are TOML's, to be converted like those of the command line.
    """

    values: dict[str, Any]
    queues: Sequence[QueueTable] = ()


def read_file(path: Path) -> dict[str, Any]:
    """Return the values that stand above the tables of a file of options; raise ConfigError as the next function."""
    return read_options(path).values


def read_options(path: Path) -> OptionsFile:
    """Read a TOML file of options, whose keys are flags without leading dashes.

    Raise ConfigError, which names the file and, for an unknown key, the closest option.
    """
    # Imported here, because most programs have no such file.
    import tomllib

    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            refuse("--config", f"{path} has more than {MOST_BYTES:,} bytes; give a file of options")
        content = tomllib.loads(text.decode())
    except OSError as error:
        refuse("--config", f"cannot read {path}: {error.strerror}; give a readable TOML file")
    except (ValueError, RecursionError) as error:
        # ValueError covers tomllib's own error and a number with thousands of digits, RecursionError thousands of
        # brackets. The error may quote the line, and the line may be a secret.
        place = _PLACE.search(str(error))
        refuse("--config", f'{path} is not TOML{f" {place[0]}" if place else ""}; write each option as: key = "value"')
    names = {option.key: name for name, option in OPTIONS.items()}
    values: dict[str, Any] = {}
    queues: Sequence[QueueTable] = ()
    for key, value in content.items():
        if key == KEY and isinstance(value, (dict, list)):
            queues = read_tables(path, value)
            continue
        if isinstance(value, dict) or _is_tables(value):
            raise ConfigError(f"{path}: tables such as [{key}] are not supported; write each option on its own line")
        name = names.get(key.replace("_", "-"))
        if name is None:
            raise ConfigError(f"{path}: there is no option {key!r}; {_nearest(key, list(names))}")
        if reason := type_problem(value, OPTIONS[name]):
            raise ConfigError(f"{path}: {key} must be {reason}")
        values[name] = value
    return OptionsFile(values, queues)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _nearest(key: str, keys: list[str]) -> str:
    near = get_close_matches(key.replace("_", "-"), keys, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "courier --help lists them"


def service_manager() -> tuple[str, float]:
    """Return the address of the service manager's socket, and the period of its watchdog in seconds.

    They follow sd_notify(3) and sd_watchdog_enabled(3): empty and 0 if there is none, or if the watchdog expects
    another process.
    """
    period = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    seconds = int(period) / 1e6 if ours and period.isascii() and period.isdecimal() else 0.0
    return os.environ.get("NOTIFY_SOCKET", ""), seconds


def runtime_directory() -> Path | None:
    """Return the directory that systemd made for the service (RuntimeDirectory=), ``None`` without one."""
    first = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(first) if first.startswith("/") else None


def webhook_secrets() -> str:
    """Return the secrets given in a variable, for an environment without files for secrets."""
    return os.environ.get(WEBHOOK_SECRET_VARIABLE, "")


def environment() -> Mapping[str, str]:
    """Return the variables of this process."""
    return os.environ


def environment_without_options() -> dict[str, str]:
    """Return the environment for a program that must not be affected by it: without Courier's and AWS's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith((VARIABLE_PREFIX, "AWS_"))}
