"""What every invocation keeps to, seen from outside: one line, the right code, the right precedence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest

import courier
from courier import cli
from courier.cli import audit
from courier.cli.options import config_parameters, valid_config
from courier.config.config import OPTIONS, Config
from courier.config.consequences import OptionNote
from courier.errors import CannotStart
from tests.unit.cli.configured import REQUIRED, configured, error_line, no_variables

__all__ = ["configured", "no_variables"]


def test_with_no_command_it_runs(configured: list[Config]) -> None:
    assert cli.main([*REQUIRED, "--consumers", "8", "--senders=16"]) == 0
    assert cli.main(["run", *REQUIRED, "--consumers", "8", "--senders=16"]) == 0
    assert configured[0] == configured[1]
    assert (configured[0].consumers, configured[0].senders) == (8, 16)


def test_an_option_beats_a_variable_beats_the_file_beats_the_default(
    configured: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "courier.toml"
    file.write_text('senders = 5\nconsumers = 5\nconcurrency = 5\nrecipient-url = "http://127.0.0.1:1/"\n')
    monkeypatch.setenv("COURIER_SENDERS", "6")
    monkeypatch.setenv("COURIER_CONSUMERS", "6")
    monkeypatch.setenv("AWS_SQS_QUEUE", "from-aws")
    assert cli.main(["--senders", "7", "--config", str(file)]) == 0
    [config] = configured
    assert (config.senders, config.consumers, config.concurrency, config.batch_size) == (7, 6, 5, 10)
    assert config.queue == "from-aws"


def test_our_own_variable_beats_that_of_aws_and_an_empty_one_does_not_count(
    configured: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SQS_QUEUE", "from-aws")
    monkeypatch.setenv("COURIER_QUEUE", "ours")
    assert cli.main(REQUIRED[2:]) == 0
    monkeypatch.setenv("COURIER_QUEUE", "")
    assert cli.main(REQUIRED[2:]) == 0
    assert [config.queue for config in configured] == ["ours", "from-aws"]


def test_the_file_can_be_named_by_a_variable(
    configured: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "courier.toml").write_text("senders = 9")
    monkeypatch.setenv("COURIER_CONFIG", str(tmp_path / "courier.toml"))
    assert cli.main(REQUIRED) == 0
    assert configured[0].senders == 9


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--batch-size", "11"], "--batch-size: '11' must be a whole number from 1 to 10"),
        (["--consumer", "2"], "there is no option --consumer; did you mean --consumers?"),
        (["--zzz"], "there is no option --zzz; --help lists the options"),
        (["chek"], "there is no command 'chek'; did you mean check?"),
        (["--queue"], "--queue: a value must follow"),
        (
            [*REQUIRED, "check"],
            "there are arguments that belong to no option; a command comes first, values with spaces need quotes",
        ),
        ([], "--queue: is missing"),
        (["--queue", "a"], "--recipient-url: is missing"),
        (["--config", "/nowhere/x.toml"], "--config: cannot read /nowhere/x.toml"),
        (["audit", "export"], "--to: is missing; give csv or jsonl"),
        (["audit", "keygen"], "PATH: is missing; give a value"),
        ([*REQUIRED, "--audit-keep", "x"], "--audit-keep: 'x' must be seconds from 1 to 3162240000, like"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_is_right(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert error_line(capsys, *arguments).startswith(line)


def test_a_wrong_variable_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURIER_BATCH_SIZE", "12")
    assert error_line(capsys, *REQUIRED) == "COURIER_BATCH_SIZE: '12' must be a whole number from 1 to 10"


def test_a_wrong_key_of_the_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "courier.toml"
    file.write_text("batch-size = 12")
    assert (
        error_line(capsys, *REQUIRED, "--config", str(file))
        == "batch-size in the file of --config: 12 must be a whole number from 1 to 10"
    )


def test_no_bad_value_of_any_option_shows_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for option in OPTIONS.values():
        line = error_line(capsys, *REQUIRED, option.flag, "\n\0")
        assert option.flag in line


def test_a_reason_not_to_start_is_one_line_with_its_own_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("run", params=config_parameters())
    @valid_config
    def command(config: Config, notes: Sequence[OptionNote]) -> int:
        raise CannotStart("the queue is gone;\nmake it")

    monkeypatch.setattr("courier.cli.run.command", command)
    assert cli.main(REQUIRED) == 3
    assert capsys.readouterr().err == "courier: error: the queue is gone; make it\n"


def test_help_shows_the_commands_and_the_options_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option.flag in shown for option in OPTIONS.values())
    assert all(f"\n  {name} " in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("words", [*cli.COMMANDS, *(f"audit {name}" for name in audit.COMMANDS)])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert cli.main([*words.split(), "--help"]) == 0
    assert f"Usage: courier {words} " in capsys.readouterr().out


def test_help_of_a_group_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in audit.COMMANDS)


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"courier {courier.__version__}\n"


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment: Any = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "courier", *arguments], capture_output=True, text=True, timeout=60, env=environment
    )


def test_python_dash_m_courier_is_the_same_program() -> None:
    done = run_module("--batch-size", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "courier: error: --batch-size: 'x' must be a whole number from 1 to 10\n"


def test_help_imports_no_boto3() -> None:
    code = "import sys; from courier.cli import main; main(['--help']); sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
