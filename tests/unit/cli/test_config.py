"""``courier config``: every setting in effect and its source, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from courier import cli
from courier.config.config import OPTIONS

ENOUGH = ("--queue", "orders", "--recipient-url", "http://api.internal/orders?key=secret")


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli.courier, ["config", *arguments], env=environ, standalone_mode=False)


def rows(result: Result) -> dict[str, tuple[str, str]]:
    """Return value and source by option, from the JSON."""
    return {each["option"]: (each["value"], each["source"]) for each in json.loads(result.output)}


def test_every_option_is_there_once_with_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "courier.toml"
    file.write_text('senders = 6\nrate-limit = 200\ntimeout = "10s"\n')
    environ = {"COURIER_SENDERS": "", "COURIER_RATE_LIMIT": "100", "AWS_FIREHOSE_STREAM": "audit"}
    shown = rows(run(*ENOUGH, "--config", str(file), "--preset", "sqsd", "--timeout", "20", "-o", "json", **environ))
    assert list(shown) == [option.key for option in OPTIONS.values()]
    assert shown["senders"] == ("6", "courier.toml")
    assert shown["rate-limit"] == ("100", "COURIER_RATE_LIMIT")
    assert shown["firehose-stream"] == ("audit", "AWS_FIREHOSE_STREAM")
    assert shown["timeout"] == ("20", "--timeout")
    assert shown["visibility-timeout"] == ("300", "preset sqsd")
    assert shown["consumers"] == ("2", "default")
    assert shown["queue"] == ("orders", "--queue")


def test_only_what_differs() -> None:
    result = run(*ENOUGH, "--changed", "--consumers", "2", "--senders", "8")
    assert result.output.splitlines() == [
        "OPTION         VALUE                FROM",
        "queue          orders               --queue",
        "recipient-url  http://api.internal  --recipient-url",
        "senders        8                    --senders",
    ]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    options = ("--bearer-token-file", str(secret), "--header", "X-Key: hunter2")
    for output in ("text", "json"):
        result = run(*ENOUGH, *options, "-o", output)
        assert result.return_value == 0
        assert "set" in result.output
        assert "hunter2" not in result.output
        assert "key=secret" not in result.output
        assert str(secret) not in result.output


def test_a_setting_without_effect_is_noted() -> None:
    result = run(*ENOUGH, "--audit", "none", "--audit-policy", "best-effort")
    assert "note: --audit-policy has no effect: --audit is none" in result.stderr


@pytest.mark.parametrize("arguments", [(), (*ENOUGH, "--senders", "many"), (*ENOUGH, "--output", "yaml")])
def test_what_run_refuses_is_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
