"""The settings in effect, each with where it came from: an option, a variable, the file, a preset, or the default."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.config.consequences import ORDERED
from courier.config.option import Option
from courier.config.presets import PRESETS
from courier.config.recipient import origin_of
from courier.config.units import BYTES, HEADER, PATH, plain, plain_size

DEFAULT: Final = "default"
SET: Final = "set"
"""The value that is shown in the place of a secret, and of a file of secrets."""


class Setting(NamedTuple):
    """An option's value in effect, as a user would write it, and its source. ``default``: the value is the default.

    ``option`` is the key in the file: the flag without its dashes.
    """

    option: str
    value: str
    source: str
    default: bool


def settings(config: Config, sources: Mapping[str, str]) -> list[Setting]:
    """Return every option's setting, in the order of the help, without secrets.

    ``sources`` maps field names to sources; an option that isn't in it has its default. Of the URLs
    of the recipient and the collector only scheme, host and port are shown, because a path may be a key.
    """
    return [
        Setting(
            option.key,
            _shown(config, name, option),
            sources.get(name, DEFAULT),
            default=getattr(config, name) == DEFAULTS[name],
        )
        for name, option in OPTIONS.items()
    ]


def find_sources(values: Mapping[str, Any], given: Mapping[str, str], changes: Collection[str]) -> dict[str, str]:
    """Return the source of each option that doesn't have its own default.

    ``given`` maps the options that were given to the flag, variable or file. ``changes`` are the defaults that
    :func:`courier.config.consequences.adapt_defaults` changed.
    """
    preset = values["preset"]
    sources = dict.fromkeys(PRESETS[preset], f"preset {preset}")
    for pair in ORDERED:
        for name, other in (pair, pair[::-1]):
            if name in changes:
                sources[name] = f"follows {OPTIONS[other].flag}"
    return {**sources, **given}


def _shown(config: Config, name: str, option: Option) -> str:
    value = getattr(config, name)
    if name == "recipient_url":
        return origin_of(config.recipient)
    if name == "traces":
        return origin_of(config.collector) if config.collector else ""
    if value in (None, "", ()):
        return "none" if option.kind.metavar.endswith("|none") else ""
    if option.may_hold_secret and option.kind is PATH:
        return SET
    if option.kind is HEADER:
        return ", ".join(f"{template}: {SET}" for template in value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else _plain(value, option)


def _plain(value: object, option: Option) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if option.kind.metavar == BYTES and isinstance(value, int):
        return plain_size(value)
    return plain(value) if isinstance(value, (int, float)) else str(value)
