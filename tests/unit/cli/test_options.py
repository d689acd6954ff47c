"""The kinds of options that click doesn't know by itself."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click
import pytest

from courier import cli

BASE = ["--queue", "orders", "--recipient-url", "http://127.0.0.1/"]


def parsed(*arguments: str) -> dict[str, Any]:
    """Parse as the program does, without running it."""
    command = cli.courier.get_command(click.Context(cli.courier), "run")
    assert command is not None
    return command.make_context("run", [*BASE, *arguments]).params


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ([], False),
        (["--deny-private"], True),
        (["--deny-private", "yes"], True),
        (["--deny-private", "no"], False),
        (["--deny-private", "--senders", "8"], True),
    ],
)
def test_yes_needs_no_word(arguments: list[str], value: bool) -> None:
    assert parsed(*arguments)["deny_private"] is value


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("1", True), ("true", True), ("no", False), ("", False)])
def test_a_variable_says_yes_or_no(monkeypatch: pytest.MonkeyPatch, word: str, value: bool) -> None:
    monkeypatch.setenv("COURIER_DENY_PRIVATE", word)
    assert parsed()["deny_private"] is value


def test_a_file_says_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / "courier.toml"
    path.write_text('deny-private = true\nallow-cidr = ["10.0.0.0/8"]\n')
    values = parsed("--config", str(path))
    assert (values["deny_private"], values["allow_cidr"]) == (True, (ip_network("10.0.0.0/8"),))


def test_networks_are_given_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert parsed("--allow-cidr", "10.0.0.0/8", "--allow-cidr", "fd00::/8")["allow_cidr"] == networks
    monkeypatch.setenv("COURIER_ALLOW_CIDR", "10.0.0.0/8\nfd00::/8")
    assert parsed()["allow_cidr"] == networks


def test_another_option_still_needs_its_value() -> None:
    with pytest.raises(click.BadOptionUsage, match="--senders"):
        parsed("--senders")


def test_the_command_line_switches_off_what_a_variable_or_a_file_sets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "courier.toml"
    path.write_text("rate-limit = 5\nmax-in-flight = 5\nretry-delay = 5\nmax-receives = 'off'\n")
    monkeypatch.setenv("COURIER_BREAKER_THRESHOLD", "5")
    file = ["--config", str(path)]
    given = parsed(*file)
    names = ("rate_limit", "max_in_flight", "retry_delay_seconds", "breaker_threshold", "max_receives")
    assert [given[name] for name in names] == [5, 5, 5, 5, 0]
    off = ["--rate-limit", "none", "--max-in-flight", "off", "--retry-delay", "none", "--breaker-threshold", "off"]
    given = parsed(*file, *off)
    assert [given[name] for name in names] == [None, None, None, 0, 0]
