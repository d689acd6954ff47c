"""The completion script for bash 4.2 and newer. It needs nothing of the package bash-completion."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from courier.cli.completion.grammar import Value, Word, name_of, values_by_flag

_SCRIPT: Final = """\
# Completion of courier for bash. Written by `courier completion bash`.
_courier() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} at head= files= list=()
    COMPREPLY=()
    # Bash splits --option=value at the equals sign, unless COMP_WORDBREAKS leaves it out.
    if [[ $word == --*=* ]]; then
        before=${{word%%=*}} head=${{word%%=*}}= word=${{word#*=}}
    elif [[ $word == = ]]; then
        word=
    elif [[ $before == = && $COMP_CWORD -ge 2 ]]; then
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    # What begins with a hyphen is the next option, not a value.
    [[ $word == -* ]] && before=
    at=${{COMP_WORDS[1]}}
    if [[ $at == -* ]]; then
        at=run
    elif [[ $COMP_CWORD -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W {commands} -- "$word")
        return
    fi
    case $at in
{groups}
    esac
    case "$at $before" in
{values}
    *)
        if [[ $word == -* ]]; then
            case $at in
{flags}
            esac
        else
            case $at in
{arguments}
            esac
        fi
        ;;
    esac
    [[ ${{#list[@]}} -gt 0 ]] && mapfile -t COMPREPLY < <(compgen -W "${{list[*]}}" -P "$head" -- "$word")
    if [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t -O ${{#COMPREPLY[@]}} COMPREPLY < <(compgen -f -P "$head" -- "$word")
    fi
}}
complete -F _courier courier
"""


def script(words: Sequence[Word]) -> str:
    """Return the script for these commands."""
    program, *others = words
    groups = [word for word in others if word.commands]
    return _SCRIPT.format(
        commands=_list(name for name, _ in program.commands),
        groups="\n".join(_group(word) for word in groups),
        values=_cases({tuple(_patterns(flag, at)): _offer(value) for flag, value, at in values_by_flag(others)}, 4),
        flags=_cases(_by_text(others, _flags), 12),
        arguments=_cases(_by_text(others, _arguments), 12),
    )


def _group(word: Word) -> str:
    names = _list(name for name, _ in word.commands)
    return (
        f"    {name_of(word)})\n"
        f"        if [[ $COMP_CWORD -eq 2 ]]; then\n"
        f'            mapfile -t COMPREPLY < <(compgen -W {names} -- "$word")\n'
        f"            return\n"
        f"        fi\n"
        f'        at="{name_of(word)} ${{COMP_WORDS[2]}}"\n'
        f"        ;;"
    )


def _patterns(flag: str, at: Sequence[Word] | None) -> list[str]:
    """Return the patterns of an option where it takes one kind of value: everywhere, or after some commands."""
    return [f"*' {flag}'"] if at is None else [f"'{name_of(word)} {flag}'" for word in at]


def _offer(value: Value) -> str:
    parts = [f"list=({' '.join(map(shlex.quote, value.choices))})"] if value.choices else []
    parts += ["files=yes"] if value.files else []
    return " ".join(parts) or ":"


def _flags(word: Word) -> str:
    return f"list=({' '.join(name for flag in word.flags for name in flag.names)})"


def _arguments(word: Word) -> str:
    choices = tuple(choice for each in word.arguments for choice in each.choices)
    return _offer(Value("", choices, any(each.files for each in word.arguments)))


def _by_text(words: Iterable[Word], text: object) -> dict[tuple[str, ...], str]:
    assert callable(text)
    same: dict[str, list[str]] = defaultdict(list)
    for word in words:
        same[text(word)].append(f"'{name_of(word)}'")
    return {tuple(patterns): found for found, patterns in same.items()}


def _cases(texts: Mapping[tuple[str, ...], str], indent: int) -> str:
    merged: dict[str, list[str]] = defaultdict(list)
    for patterns, text in texts.items():
        merged[text] += patterns
    return "\n".join(f"{' ' * indent}{'|'.join(patterns)}) {text} ;;" for text, patterns in merged.items())


def _list(names: Iterable[str]) -> str:
    return f"'{' '.join(names)}'"
