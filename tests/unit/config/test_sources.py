"""Where each setting came from, as the command line and the API show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier import cli
from courier.config.config import OPTIONS, Config
from courier.config.file_descriptors import LIMIT, fit_concurrency
from courier.config.sources import DEFAULT, SET, Setting, settings
from tests.canaries import EVERY_SECRET, MARK, variables
from tests.unit.cli.configured import REQUIRED, configured, no_variables

__all__ = ["configured", "no_variables"]


def shown(config: Config) -> dict[str, Setting]:
    return {setting.option: setting for setting in settings(config, config.sources)}


def test_every_option_has_a_setting_in_the_order_of_the_help(configured: list[Config]) -> None:
    assert cli.main(REQUIRED) == 0
    found = settings(configured[0], configured[0].sources)
    assert [setting.option for setting in found] == [option.key for option in OPTIONS.values()]
    changed = [setting for setting in found if not setting.default]
    assert changed == [
        Setting("queue", "orders", "--queue", default=False),
        Setting("recipient-url", "http://127.0.0.1:1", "--recipient-url", default=False),
    ]
    assert {setting.source for setting in found if setting.default} == {DEFAULT}


def test_a_setting_comes_from_its_flag_its_variable_or_its_file(
    configured: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "prod.toml"
    file.write_text('senders = 7\nconsumers = 7\nbatch-size = 7\ntimeout = 20\nrecipient-url = "http://127.0.0.1:1/"\n')
    monkeypatch.setenv("COURIER_SENDERS", "8")
    monkeypatch.setenv("COURIER_CONSUMERS", "8")
    monkeypatch.setenv("AWS_SQS_QUEUE", "orders")
    assert cli.main(["--config", str(file), "--senders", "9"]) == 0
    found = shown(configured[0])
    assert found["senders"] == Setting("senders", "9", "--senders", default=False)
    assert found["consumers"] == Setting("consumers", "8", "COURIER_CONSUMERS", default=False)
    assert found["batch-size"] == Setting("batch-size", "7", "prod.toml", default=False)
    assert found["queue"].source == "AWS_SQS_QUEUE"


def test_a_given_value_that_is_the_default_keeps_its_source(configured: list[Config]) -> None:
    assert cli.main([*REQUIRED, "--senders", "4"]) == 0
    assert shown(configured[0])["senders"] == Setting("senders", "4", "--senders", default=True)


def test_a_preset_and_an_adapted_default_are_named(configured: list[Config]) -> None:
    assert cli.main([*REQUIRED, "--preset", "sqsd", "--timeout", "2"]) == 0
    found = shown(configured[0])
    assert found["visibility-timeout"] == Setting("visibility-timeout", "300", "preset sqsd", default=False)
    assert found["connect-timeout"] == Setting("connect-timeout", "2", "follows --timeout", default=False)
    assert found["timeout"].source == "--timeout"


def test_a_concurrency_lowered_to_the_limit_of_open_files_says_so(configured: list[Config]) -> None:
    assert cli.main([*REQUIRED, "--concurrency", "4096"]) == 0
    lowered, line = fit_concurrency(configured[0], 1000)
    assert line
    assert shown(lowered)["concurrency"].source == LIMIT


@pytest.mark.parametrize(
    ("given", "option", "value"),
    [
        (["--audit-max-bytes", "64MiB"], "audit-max-bytes", "64 MiB"),
        (["--deny-private"], "deny-private", "yes"),
        ([], "deny-private", "no"),
        (["--rate-limit", "0.5"], "rate-limit", "0.5"),
        ([], "rate-limit", "none"),
        ([], "region", ""),
        (["--api-host", "a.example", "--api-host", "b.example"], "api-host", "a.example, b.example"),
        (["--header", "X-Key: secret"], "header", f"X-Key: {SET}"),
        (["--bearer-token-file", "/run/secrets/token"], "bearer-token-file", SET),
        ([], "bearer-token-file", ""),
    ],
)
def test_a_value_is_written_as_its_user_would(
    configured: list[Config], given: list[str], option: str, value: str
) -> None:
    assert cli.main([*REQUIRED, *given]) == 0
    assert shown(configured[0])[option].value == value


def test_no_secret_is_shown(configured: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in variables(tmp_path, "https://example.com", {"basic_auth_file"}).items():
        monkeypatch.setenv(name, value)
    assert cli.main(["--queue", "orders"]) == 0
    text = str(settings(configured[0], configured[0].sources))
    assert not [secret for secret in EVERY_SECRET if secret in text]
    assert MARK not in text
