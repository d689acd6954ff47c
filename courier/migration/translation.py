"""What a setting of another program becomes: options of Courier, a note on what is different, or both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any, Final, NamedTuple

from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.config.consequences import adapt_defaults
from courier.config.option import Option
from courier.config.presets import PRESETS
from courier.errors import ConfigError
from courier.log.printable import one_line

_FIELDS: Final = {option.key: name for name, option in OPTIONS.items()}

_URLS: Final = frozenset({"recipient-url", "queue", "endpoint-url"})
_USER: Final = re.compile(r"^(?P<scheme>[^/\\?#@]*+[/\\]++)?+[^/?#]*@")
_WITHOUT_USER: Final = "the user and password of the URL are left out"

COMMENT_COLUMNS: Final = 98

Value = str | int | float | bool | list[str]


class Translation(NamedTuple):
    """What the setting ``origin`` becomes: values by the key of their option, and a note for who reads them.

    ``origin`` is the name of the setting, without its value, which may be a secret.
    """

    origin: str
    options: Mapping[str, Value]
    note: str = ""


def write_toml(translations: Iterable[Translation], program: str) -> str:
    """Return the file of options for ``--config``. Each setting is a comment above what it became.

    A value that Courier doesn't take is left out, and a comment says what would be right.
    """
    lines = [
        f"# Courier's options for the settings of {program}. Read the notes, then try them:",
        "#   courier check --config FILE",
    ]
    written: set[str] = set()
    for translation in translations:
        accepted, remarks = _accepted(translation.options)
        notes = "; ".join(filter(None, [translation.note, *remarks]))
        comment = one_line(f"{translation.origin}: {notes}" if notes else translation.origin)
        lines += ["", *(f"# {line}" for line in wrap(comment, COMMENT_COLUMNS, break_on_hyphens=False))]
        # TOML has each key once.
        lines += [f"{key} = {_toml(value)}" for key, value in accepted.items() if key not in written]
        written.update(accepted)
    return "\n".join(lines) + "\n"


def problem_of(translations: Iterable[Translation]) -> str:
    """Return what keeps Courier from starting with these options, as a line; empty if nothing does."""
    values: dict[str, Any] = {}
    for translation in translations:
        for key, value in _accepted(translation.options)[0].items():
            if _FIELDS[key] in values:
                continue
            values[_FIELDS[key]] = OPTIONS[_FIELDS[key]].parse(value)
    defaults = {**DEFAULTS, **PRESETS[values.get("preset", DEFAULTS["preset"])]}
    try:
        Config(**{**defaults, **values, **adapt_defaults({**defaults, **values}, values)})
    except ConfigError as error:
        return str(error)
    return ""


def _accepted(options: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
    """Return the options whose values Courier takes, without passwords, and lines about what is to be done."""
    accepted, remarks = {}, []
    for key, given in options.items():
        value = _USER.sub(r"\g<scheme>", given) if key in _URLS and isinstance(given, str) else given
        if value != given:
            file = "; write user:password into a file, and name it with basic-auth-file"
            remarks.append(_WITHOUT_USER + (file if key == "recipient-url" else ""))
        if key == "recipient-url" and "?" in str(value):
            remarks.append("if its query is a key, let only Courier read this file")
        if reason := _refusal(OPTIONS[_FIELDS[key]], value):
            remarks.append(f"{key} is left out: {reason}")
        else:
            accepted[key] = value
    return accepted, remarks


def _refusal(option: Option, value: Value) -> str:
    try:
        option.parse(value)
    except ValueError as error:
        return str(error)
    return ""


def _toml(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if not isinstance(value, str):
        return str(value).lower()
    # A string of TOML takes the escapes of JSON, and must escape DEL too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")


def whole_number(text: str) -> int | None:
    """Return a whole number as Go's Atoi and Ruby's YAML read it; ``None`` if it isn't one."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else None
