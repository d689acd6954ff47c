"""The help on options: grouped by subject, one line each, and ``courier help`` has all about each."""

from __future__ import annotations

from itertools import groupby

import click
import pytest

from courier import cli
from courier.cli.help import OTHERS, describe, grouped
from courier.cli.options import config_parameters
from courier.config.config import GROUPS, OPTIONS

PARAMETERS = config_parameters()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(arguments) == 0
    return capsys.readouterr().out


def test_every_option_is_in_one_group_and_the_groups_follow_each_other() -> None:
    assert tuple(group for group, _ in groupby(option.group for option in OPTIONS.values())) == GROUPS
    shown = {group: [each.name for each in members] for group, members in grouped(PARAMETERS).items()}
    assert shown.pop(OTHERS) == ["config_file"]
    assert [name for names in shown.values() for name in names] == list(OPTIONS)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["check", "--help"]])
@pytest.mark.parametrize("columns", ["40", "100", "200"])
def test_every_option_has_one_line_of_at_most_100_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = printed(capsys, *arguments).splitlines()
    assert max(map(len, lines)) <= 100
    for name, option in OPTIONS.items():
        (line,) = [line for line in lines if line.startswith(f"  {option.flag} ")]
        (default,) = [describe(each).default for each in PARAMETERS if each.name == name]
        assert line.endswith(option.help + (f"  [default: {default}]" if default else ""))
    assert [line for line in lines if line.removesuffix(":") in GROUPS] == [f"{group}:" for group in GROUPS]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_help_has_all_about_an_option_by_its_flag_its_key_and_its_variables(
    capsys: pytest.CaptureFixture[str], parameter: click.Parameter
) -> None:
    flag, text, takes, default, variables = describe(parameter)
    key = flag.removeprefix("--")
    shown = printed(capsys, "help", flag)
    assert shown.startswith(f"{flag} ")
    words = " ".join(shown.split())
    for part in (text, takes.replace("`", ""), f"Default {default or 'not set'}", *variables):
        assert part in words
    assert ("Key" in words) == (parameter.name in OPTIONS)
    for name in (key, key.replace("-", "_"), *variables, *map(str.lower, variables)):
        assert printed(capsys, "help", name) == shown


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("--sender", "--senders"), ("COURIER_TIMEOUTS", "--timeout"), ("bakoff_base", "--backoff-base")],
)
def test_an_unknown_name_is_one_line_with_the_nearest_option(
    capsys: pytest.CaptureFixture[str], name: str, nearest: str
) -> None:
    assert cli.main(["help", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"courier: error: there is no option of that name; did you mean {nearest}?\n"


@pytest.mark.parametrize("name", ["", "-", "whsec_c2VjcmV0", "\N{SNOWMAN}"])
def test_whatever_the_name_it_is_one_line_that_does_not_repeat_it(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert cli.main(["help", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith("courier: error: there is no option of that name; did you mean --")
    assert error.count("\n") == 1
    assert len(name) < 2 or name not in error


def test_without_an_option_it_is_the_help_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "help") == printed(capsys, "--help")
