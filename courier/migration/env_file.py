"""Files of variables: those of ``docker --env-file``, systemd's ``EnvironmentFile`` and a shell that exports them."""

from __future__ import annotations

import re
import shlex
from typing import Final

from courier.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_variables(text: str, name: str) -> dict[str, str]:
    """Return the variables of a file; the last value of a name counts. Raise ConfigError, which names the line.

    A line is empty, a comment, or ``NAME=value``, with ``export`` in front or not. Quotes around a value are removed.
    The error never quotes the line, which may hold a secret.
    """
    variables: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip().removeprefix("export ").lstrip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        variable, equals, value = stripped.partition("=")
        if not equals or not _NAME.fullmatch(variable.strip()):
            raise ConfigError(f"{name}: line {number} is not NAME=value; give a file of environment variables")
        variables[variable.strip()] = _unquoted(value.strip())
    return variables


def _unquoted(value: str) -> str:
    if value[:1] not in ('"', "'"):
        return value
    try:
        return "".join(shlex.split(value, comments=True)[:1])
    except ValueError:
        # A quote without its end belongs to the value, as for docker.
        return value
