"""The texts that describe an option's values in the help and in docs/configuration.md."""

from __future__ import annotations

from typing import Any

import click

from courier.config.units import BYTES, OptionType, plain, plain_size


def takes(kind: OptionType | click.ParamType[Any]) -> str:
    """Return what an option takes, in Markdown."""
    match kind:
        case click.IntRange() | click.FloatRange():
            return f"{plain(kind.min or 0)} to {plain(kind.max or 0)}"
        case click.types.BoolParamType():
            return "no value"
        case click.Choice():
            return ", ".join(f"`{choice}`" for choice in kind.choices)
        case click.ParamType():
            return kind.name
    return kind.takes


def default_text(default: object, kind: object) -> str:
    """Return a default as a user would write it; empty if there is none."""
    if default in (None, "", ()) or type(default).__name__ == "Sentinel":
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(kind, OptionType) and kind.metavar == BYTES and isinstance(default, int):
        return plain_size(default)
    return plain(default) if isinstance(default, (int, float)) else str(default)
