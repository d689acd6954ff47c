"""Errors before and at the start come out in the log format that was asked for, wherever that was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.cli.log_format import log_format

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}


def courier(*arguments: str, **environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "courier", *arguments]
    given = ENVIRONMENT | {"AWS_EC2_METADATA_DISABLED": "true"} | environment
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--log-format", "json", "--no-such-option"], "there is no option --no-such-option"),
        (["--log-format=json", "--senders", "many"], "--senders"),
        (["--senders", "2", "--log-format", "json"], "--queue"),
        (["nonsense", "--log-format", "json"], "there is no command"),
        (["--log-format", "json", "--queue"], "--queue: a value must follow"),
        (["check", "--log-format", "json", "--config", "/nowhere/\x1b[31m\udcff"], "--config"),
    ],
)
def test_a_usage_error_is_one_line_of_json(arguments: list[str], expected: str) -> None:
    code, text = courier(*arguments)
    assert code == 2
    assert text.rstrip("\n").isprintable()
    [event] = events(text)
    assert expected in str(event["event"])
    assert (event["level"], event["exit_code"]) == ("error", 2)
    assert list(event)[:5] == ["timestamp", "level", "pid", "logger", "event"]


def test_a_start_that_fails_is_json_to_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    given = {"COURIER_QUEUE_TYPE": "nop", "COURIER_RECIPIENT_URL": "http://127.0.0.1:1", "COURIER_API": "none"}
    code, text = courier("--audit-path", str(tmp_path / "file"), **given, COURIER_LOG_FORMAT="json")
    assert code == 3
    assert [event["level"] for event in events(text)] == ["info", "error"]
    assert "--audit-path" in str(events(text)[-1]["event"])
    config = tmp_path / "courier.toml"
    config.write_text('log-format = "json"\nsenders = "many"\n')
    code, text = courier("--config", str(config))
    assert code == 2
    assert "senders" in str(events(text)[0]["event"])


def test_in_logfmt_an_error_is_one_printable_line_for_people() -> None:
    code, text = courier("--queue", "a\x1b[2J\u202e\nb", "--recipient-url", "http://127.0.0.1:1")
    assert code == 2
    assert text.startswith("courier: error: ")
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(), st.sampled_from(["--log-format", "--log-format=json", "--config", "json"]))))
def test_whatever_the_arguments_are_the_format_is_found_or_not(arguments: list[str]) -> None:
    found = log_format(arguments, lambda _: "")
    if "--log-format=json" in arguments[-1:]:
        assert found == "json"
