"""The configured log format, read before the options, so that errors in the options use it too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from courier.config.loading import read_file, variable
from courier.errors import CourierError

JSON: Final = "json"
_FLAG: Final = "--log-format"
_FILE_FLAG: Final = "--config"


def log_format(arguments: Sequence[str], variable: Callable[[str], str] = variable) -> str:
    """Return the log format from the arguments, the variable or the file of ``--config``, in this order.

    The result is empty if none of them has a valid one.
    """
    return (
        _value(_FLAG, arguments)
        or variable("COURIER_LOG_FORMAT")
        or _in_file(_value(_FILE_FLAG, arguments) or variable("COURIER_CONFIG"))
    ).strip()


def _value(flag: str, arguments: Sequence[str]) -> str:
    """Return the last value of an option among the arguments."""
    value = ""
    for place, argument in enumerate(arguments):
        if argument == flag and place + 1 < len(arguments):
            value = arguments[place + 1]
        elif argument.startswith(f"{flag}="):
            value = argument.partition("=")[2]
    return value


def _in_file(path: str) -> str:
    if not path:
        return ""
    try:
        return str(read_file(Path(path)).get("log_format", ""))
    except CourierError:
        return ""
