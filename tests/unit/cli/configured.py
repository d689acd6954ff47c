"""The program's commands in the test's own process, without the variables of whoever runs the tests."""

from __future__ import annotations

from collections.abc import Sequence

import click
import pytest

from courier import cli
from courier.cli.options import config_parameters, valid_config
from courier.config.config import OPTIONS, Config
from courier.config.consequences import OptionNote

REQUIRED = ["--queue", "orders", "--recipient-url", "http://127.0.0.1:1/"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS.values():
        for name in option.variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("COURIER_CONFIG", raising=False)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Put a command in the place of run that keeps what it was given."""
    configs: list[Config] = []

    @click.command("run", params=config_parameters())
    @valid_config
    def command(config: Config, notes: Sequence[OptionNote]) -> int:
        configs.append(config)
        return 0

    monkeypatch.setattr("courier.cli.run.command", command)
    return configs


def error_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the program with wrong arguments, and return the line that says so."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("courier: error: ")
    return captured.err.removeprefix("courier: error: ").rstrip()
