"""The completion scripts: each shell offers what the program takes, at every place of the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from courier import cli
from courier.cli.completion import completion_script

BASH_AND_FISH = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"needs {name}"))
    for name in ("bash", "fish")
]
ASK_BASH = """
while IFS= read -r line; do
    read -ra COMP_WORDS <<<"$line"
    [[ $line == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    _courier
    echo "${COMPREPLY[@]}"
done
"""
ASK_FISH = """
while read -l line
    echo (complete -C $line | string split -f 1 \\t)
end
"""


def offered(shell: str, lines: list[str], directory: Path) -> list[set[str]]:
    """Return what bash or fish offers at the end of each line."""
    asked = completion_script(cli.courier, shell) + (ASK_BASH if shell == "bash" else ASK_FISH)
    command = ["bash", "--norc", "-c", asked] if shell == "bash" else ["fish", "--no-config", "-c", asked]
    done = subprocess.run(
        command,
        cwd=directory,
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=100,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [answer.split() for answer in done.stdout.splitlines()]
    begun = [line.rpartition(" ")[2] for line in lines]
    # Fish shows that an option may have a value, and offers what has the letters in it when nothing begins with them.
    return [
        {each.removesuffix("=") for each in answer if shell == "bash" or each.startswith(beginning)}
        for answer, beginning in zip(answers, begun, strict=True)
    ]


def commands() -> Iterator[tuple[str, click.Command]]:
    with click.Context(cli.courier) as context:
        for name in cli.COMMANDS:
            command = cli.courier.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                for below in command.list_commands(context):
                    found = command.get_command(context, below)
                    assert found is not None
                    yield f"{name} {below}", found
            else:
                yield name, command


@pytest.mark.parametrize("shell", BASH_AND_FISH)
def test_every_option_of_every_command_is_offered_and_no_other(shell: str, tmp_path: Path) -> None:
    known = list(commands())
    answers = offered(shell, [f"courier {name} --" for name, _ in known], tmp_path)
    for (name, command), answer in zip(known, answers, strict=True):
        options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
        flags = {flag for each in options for flag in (*each.opts, *each.secondary_opts) if flag.startswith("--")}
        assert answer == flags | {"--help"}, name


@pytest.mark.parametrize("shell", BASH_AND_FISH)
def test_a_choice_is_offered_after_its_option_in_every_command(shell: str, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    expected: dict[str, set[str]] = {}
    for name, command in commands():
        for each in command.params:
            with click.Context(command) as context:
                words = each.make_metavar(context).strip("[]").split("|")
            if isinstance(each, click.Option) and not each.is_flag and all(map(str.islower, words)):
                expected[f"courier {name} {each.opts[0]} "] = set(words)
    assert len(expected) >= 100
    assert dict(zip(expected, offered(shell, list(expected), tmp_path), strict=True)) == expected


@pytest.mark.parametrize("shell", BASH_AND_FISH)
def test_what_is_offered_depends_on_what_stands_before(shell: str, tmp_path: Path) -> None:
    (tmp_path / "orders.toml").touch()
    expected = {
        "courier ": set(cli.COMMANDS),
        "courier v": {"virtual"},
        "courier audit v": {"verify"},
        "courier --log-l": {"--log-level"},
        "courier --senders 4 --log-level w": {"warning"},
        "courier run --config o": {"orders.toml"},
        "courier run --queue ": set(),
        "courier kill ": set(),
        "courier nonsense ": set(),
        "courier run --adaptive --senders 2 --consu": {"--consumers"},
        "courier run --adaptive --consu": {"--consumers"},
        "courier help log-l": {"log-level"},
        "courier completion f": {"fish"},
        "courier audit tail o": {"orders.toml"},
    }
    assert dict(zip(expected, offered(shell, list(expected), tmp_path), strict=True)) == expected


def test_bash_completes_a_value_after_an_equals_sign_whether_it_splits_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "orders.toml").touch()
    lines = ["courier --log-level = w", "courier --log-level =", "courier --log-level=w", "courier --config=o"]
    answers = offered("bash", lines, tmp_path)
    assert answers[0] == {"warning"}
    assert answers[1] == {"debug", "info", "warning", "error"}
    assert answers[2:] == [{"--log-level=warning"}, {"--config=orders.toml"}]
