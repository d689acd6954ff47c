"""The completion script for zsh: a file of the name ``_courier`` in a directory of ``fpath``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from courier.cli.completion.grammar import Flag, Value, Word

_SCRIPT: Final = """\
#compdef courier
# Completion of courier for zsh. Written by `courier completion zsh`.

{functions}
_courier() {{
    if [[ $words[2] == -* ]]; then
        _courier_run
        return
    fi
    if (( CURRENT == 2 )); then
        local -a commands=({commands})
        _describe -t commands command commands
        return
    fi
    local name=$words[2]
    shift words
    (( CURRENT-- ))
    (( $+functions[_courier_$name] )) && _courier_$name
}}

if [[ $funcstack[1] == _courier ]]; then
    _courier "$@"
else
    compdef _courier courier
fi
"""

_COMMAND: Final = """\
_{name}() {{
    _arguments -S : {specs}
}}
"""

_GROUP: Final = """\
_{name}() {{
    if (( CURRENT == 2 )); then
        local -a commands=({commands})
        _describe -t commands command commands
        return
    fi
    local name=$words[2]
    shift words
    (( CURRENT-- ))
    (( $+functions[_{name}_$name] )) && _{name}_$name
}}
"""

_SPECIAL: Final = str.maketrans({each: f"\\{each}" for each in "\\:[]"})


def script(words: Sequence[Word]) -> str:
    """Return the script for these commands."""
    program, *others = words
    return _SCRIPT.format(functions="\n".join(map(_function, others)), commands=_described(program))


def _function(word: Word) -> str:
    name = "_".join(("courier", *word.path))
    if word.commands:
        return _GROUP.format(name=name, commands=_described(word))
    specs = [spec for flag in word.flags for spec in _flag(flag)]
    specs += [_argument(value) for value in word.arguments]
    return _COMMAND.format(name=name, specs=" \\\n        ".join(map(_quoted, specs)))


def _flag(flag: Flag) -> Iterator[str]:
    """Return a specification for each name. The one name excludes the others, unless the option may be repeated."""
    for name in flag.names:
        others = " ".join(each for each in flag.names if each != name)
        front = "*" if flag.repeated else f"({others})" if others else ""
        sign = "=" if flag.value is not None and name.startswith("--") else ""
        value = "" if flag.value is None else f":{':' if flag.bare else ''}{_value(flag.value)}"
        yield f"{front}{name}{sign}[{flag.help.translate(_SPECIAL)}]{value}"


def _argument(value: Value) -> str:
    count = "*" if "..." in value.metavar else ""
    optional = ":" if value.metavar.startswith("[") and not count else ""
    return f"{count}:{optional}{_value(value)}"


def _value(value: Value) -> str:
    """Return the message and the action: files, choices, or anything."""
    message = value.metavar.strip("[]").translate(_SPECIAL)
    choices = " ".join(each.translate(_SPECIAL) for each in value.choices)
    if value.files:
        return f"{message}:_files"
    return f"{message}:({choices})" if choices else f"{message}: "


def _described(word: Word) -> str:
    return " ".join(_quoted(f"{name}:{text.translate(_SPECIAL)}") for name, text in word.commands)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
