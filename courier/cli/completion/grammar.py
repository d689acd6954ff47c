"""What may stand on a command line, for the completion scripts and the manual pages: commands, options, values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import click

FILES: Final = ("FILE", "PATH", "DIR")
"""Metavars, or their beginnings, that stand for the name of a file or a directory."""


class Value(NamedTuple):
    """What follows an option, or stands as an argument. Without ``choices`` and ``files`` it can be anything."""

    metavar: str
    choices: tuple[str, ...] = ()
    files: bool = False


class Flag(NamedTuple):
    """An option. ``value`` is None if it takes none; ``bare`` if it may stand without one."""

    names: tuple[str, ...]
    help: str
    value: Value | None
    bare: bool = False
    repeated: bool = False


class Word(NamedTuple):
    """A command by the words that call it, without the program's name. A group has commands below it."""

    path: tuple[str, ...]
    help: str
    flags: tuple[Flag, ...]
    arguments: tuple[Value, ...]
    commands: tuple[tuple[str, str], ...]


def read_grammar(program: click.Group) -> list[Word]:
    """Return all commands of a program: a group before those below it, the program itself first, with no words.

    ``help`` takes the options of ``run``, without their hyphens.
    """
    words = list(_words(program, (), None))
    keys = tuple(flag.names[0].removeprefix("--") for word in words if word.path == ("run",) for flag in word.flags)
    return [word._replace(arguments=(Value("[OPTION]", keys),)) if word.path == ("help",) else word for word in words]


def _words(command: click.Command, path: tuple[str, ...], parent: click.Context | None) -> Iterator[Word]:
    with click.Context(
        command, info_name=path[-1] if path else "courier", parent=parent, **command.context_settings
    ) as context:
        names = command.list_commands(context) if isinstance(command, click.Group) else []
        below = {name: found for name in names if (found := _command(command, context, name)) is not None}
        options = [each for each in command.get_params(context) if isinstance(each, click.Option) and not each.hidden]
        yield Word(
            path,
            _summary(command),
            tuple(_flag(each, context) for each in options),
            tuple(_value(each, context) for each in command.params if isinstance(each, click.Argument)),
            tuple((name, _summary(found)) for name, found in below.items()),
        )
        for name, found in below.items():
            yield from _words(found, (*path, name), context)


def _command(group: click.Command, context: click.Context, name: str) -> click.Command | None:
    assert isinstance(group, click.Group)
    return group.get_command(context, name)


def _summary(command: click.Command) -> str:
    return command.get_short_help_str(limit=200)


def _flag(option: click.Option, context: click.Context) -> Flag:
    summary = (option.help or "").partition("  [default")[0]
    names = (*option.opts, *option.secondary_opts)
    if option.is_flag or option.count:
        return Flag(names, summary, None)
    return Flag(names, summary, _value(option, context), isinstance(option.flag_value, str), option.multiple)


def _value(parameter: click.Parameter, context: click.Context) -> Value:
    metavar = parameter.make_metavar(context)
    if isinstance(parameter.type, click.Choice):
        return Value(metavar, tuple(map(str, parameter.type.choices)))
    words = [word.strip("[]. ") for word in metavar.split("|")]
    words = [word.lower() for word in words] if metavar == "YES|NO" else words
    files = isinstance(parameter.type, click.Path) or any(word.startswith(FILES) for word in words)
    return Value(metavar, tuple(word for word in words if word.islower() and "/" not in word), files)


def name_of(word: Word) -> str:
    """Return the words that call a command, as one: ``audit grep``."""
    return " ".join(word.path)


def values_by_flag(words: Sequence[Word]) -> list[tuple[str, Value, list[Word] | None]]:
    """Return each name of an option with a kind of value that it takes, and the commands after which it does.

    The commands are None if that is so for all commands that have the option.
    """
    found: dict[str, dict[Value, list[Word]]] = {}
    for word in words:
        for flag in word.flags:
            for name in flag.names:
                if flag.value is not None:
                    found.setdefault(name, {}).setdefault(flag.value._replace(metavar=""), []).append(word)
    without = {name for word in words for flag in word.flags if flag.value is None for name in flag.names}
    return [
        (name, value, None if len(values) == 1 and name not in without else at)
        for name, values in found.items()
        for value, at in values.items()
    ]


def same_flags(words: Sequence[Word]) -> dict[Flag, list[Word]]:
    """Return each option with the commands that have it."""
    found: dict[Flag, list[Word]] = {}
    for word in words:
        for flag in word.flags:
            found.setdefault(flag, []).append(word)
    return found
