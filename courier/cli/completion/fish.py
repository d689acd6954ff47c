"""The completion script for fish 3.1 and newer: ``courier.fish`` in a directory of completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from courier.cli.completion.grammar import Flag, Value, Word, name_of, same_flags

_SCRIPT: Final = """\
# Completion of courier for fish. Written by `courier completion fish`.
function __courier_after
    set -l words (commandline -opc)
    set -l at run
    if set -q words[2]; and not string match -q -- '-*' $words[2]
        set at $words[2]
    end
    if contains -- $at {groups}; and set -q words[3]
        set at "$at $words[3]"
    end
    contains -- $at $argv
end

function __courier_first
    test (count (commandline -opc)) -eq 1
end

complete -c courier -f
{lines}
"""


def script(words: Sequence[Word]) -> str:
    """Return the script for these commands."""
    program, *others = words
    lines = [_command("__courier_first", name, text) for name, text in program.commands]
    for word in others:
        after = f"__courier_after {_quoted(name_of(word))}"
        lines += [_command(after, name, text) for name, text in word.commands]
        lines += [_offer(after, value) for value in word.arguments if value.choices or value.files]
    lines += [_flag(flag, at) for flag, at in same_flags(others).items()]
    groups = " ".join(name_of(word) for word in others if word.commands)
    return _SCRIPT.format(groups=groups, lines="\n".join(lines))


def _command(condition: str, name: str, text: str) -> str:
    return f"complete -c courier -n {_quoted(condition)} -a {name} -d {_quoted(text)}"


def _offer(condition: str, value: Value) -> str:
    return f"complete -c courier -n {_quoted(condition)}{_values(value)}"


def _flag(flag: Flag, at: Sequence[Word]) -> str:
    condition = " ".join(("__courier_after", *(_quoted(name_of(word)) for word in at)))
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
    needs = "" if flag.value is None or flag.bare else " -r" if flag.value.files else " -x"
    values = "" if flag.value is None else _values(flag.value)
    return f"complete -c courier -n {_quoted(condition)} {names}{needs}{values} -d {_quoted(flag.help)}"


def _values(value: Value) -> str:
    choices = f" -a {_quoted(' '.join(value.choices))}" if value.choices else ""
    return f"{' -F' if value.files else ''}{choices}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
