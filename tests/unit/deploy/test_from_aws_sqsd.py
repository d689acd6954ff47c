"""docs/from-aws-sqsd.md: it has every setting of the daemon, with its default, and names only what there is."""

from __future__ import annotations

import re
import shlex
from typing import Final

import pytest

from courier.config.config import OPTIONS
from courier.config.presets import PRESETS
from courier.process.scoreboard import METRIC, WORDS
from tests.unit.deploy.documents import table
from tests.unit.deploy.files import DEPLOY, ROOT

FILE: Final = ROOT / "docs" / "from-aws-sqsd.md"
PAGE: Final = FILE.read_text()

# From "General options for all environments", namespace aws:elasticbeanstalk:sqsd.
SETTINGS: Final = {
    "WorkerQueueURL": "a new queue",
    "HttpPath": "`/`",
    "MimeType": "`application/json`",
    "HttpConnections": "50",
    "ConnectTimeout": "5",
    "InactivityTimeout": "299",
    "VisibilityTimeout": "300",
    "ErrorVisibilityTimeout": "2",
    "RetentionPeriod": "345600",
    "MaxRetries": "10",
}
OF_THE_PRESET: Final = {
    "MimeType": "content_type",
    "ConnectTimeout": "connect_timeout_seconds",
    "InactivityTimeout": "timeout_seconds",
    "VisibilityTimeout": "visibility_timeout_seconds",
    "ErrorVisibilityTimeout": "retry_delay_seconds",
}
FLAG: Final = re.compile(r"--[a-z][a-z-]*")


def rows() -> dict[str, list[str]]:
    """Return the table of settings, by the setting."""
    return table(FILE, "Settings")


def test_every_setting_of_the_daemon_is_there_with_its_default() -> None:
    assert {name: row[0] for name, row in rows().items()} == SETTINGS


def test_every_option_and_metric_that_is_named_is_there() -> None:
    flags = {option.flag for option in OPTIONS.values()} | {"--from"}
    assert set(FLAG.findall(PAGE)) <= flags
    metrics = {f"courier_{word.name}_total" for word in WORDS if METRIC in word.kind}
    assert set(re.findall(r"courier_[a-z_]+_total", PAGE)) <= metrics
    assert all((ROOT / path).is_file() for path in re.findall(r"deploy/[\w/.-]+\.json", PAGE))
    assert (DEPLOY / "iam" / "courier-cron.json").is_file()


@pytest.mark.parametrize(("setting", "field"), OF_THE_PRESET.items())
def test_the_preset_has_the_default_of_the_daemon_where_the_page_says_so(setting: str, field: str) -> None:
    default, option, changes = rows()[setting]
    assert OPTIONS[field].flag in option
    assert "the preset sets it" in changes
    assert str(PRESETS["sqsd"][field]).removesuffix(".0") == default.strip("`")


def test_the_command_in_short_is_one_of_options_that_there_are() -> None:
    (command,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    program, *words = shlex.split(command.replace("\\\n", " "))
    assert program == "courier"
    assert {word for word in words if word.startswith("--")} <= {option.flag for option in OPTIONS.values()}
