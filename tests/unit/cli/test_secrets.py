"""Whatever is wrong with an option that may hold a secret, and wherever it was given: its value is never repeated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from courier import cli
from courier.cli.options import config_parameters, valid_config
from courier.config.config import OPTIONS, Config
from courier.config.consequences import OptionNote
from courier.errors import CannotStart
from courier.wiring.recipient import authentication, recipient_tls
from tests.canaries import EVERY_SECRET, MARK, MAY_HOLD_SECRET, SECRET, hidden, variables, wrong_values

REQUIRED = {"--queue": "orders", "--recipient-url": "http://127.0.0.1:1/"}
URLS_OF_AWS = ("queue", "failure_queue", "endpoint_url", "firehose_endpoint_url", "audit_archive_endpoint_url")


@pytest.fixture(autouse=True)
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Keep what run is given in place of running it; the environment has none of our variables."""
    for option in OPTIONS.values():
        for name in option.variables:
            monkeypatch.delenv(name, raising=False)
    configs: list[Config] = []

    @click.command("run", params=config_parameters())
    @valid_config
    def command(config: Config, notes: Sequence[OptionNote]) -> int:
        for note in notes:
            print(note)
        print(config, config.summary())
        configs.append(config)
        try:
            authentication(config, recipient_tls(config))
        except CannotStart as error:
            print(error)
        return 0

    monkeypatch.setattr("courier.cli.run.command", command)
    return configs


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.main(arguments)
    captured = capsys.readouterr()
    return captured.out + captured.err


def required(flag: str) -> list[str]:
    return [word for name, value in REQUIRED.items() if name != flag for word in (name, value)]


@pytest.mark.parametrize("name", MAY_HOLD_SECRET)
def test_no_secret_option_repeats_its_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    option = OPTIONS[name]
    for value in wrong_values(name):
        assert SECRET[name] not in said(capsys, *required(option.flag), option.flag, value), value
        assert SECRET[name] not in said(capsys, *required(option.flag), f"{option.flag}={value}"), value
        file = tmp_path / "courier.toml"
        file.write_text(f"{option.key} = {json.dumps([value] if option.repeated else value)}")
        assert SECRET[name] not in said(capsys, *required(option.flag), "--config", str(file)), value
        if "\0" not in value:
            monkeypatch.setenv(option.variables[0], value)
            assert SECRET[name] not in said(capsys, *required(option.flag)), value
            monkeypatch.delenv(option.variables[0])


@pytest.mark.parametrize("name", MAY_HOLD_SECRET)
def test_no_secret_that_lost_its_option_its_quotes_or_its_place_in_the_file_is_repeated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    secret, flag = SECRET[name], OPTIONS[name].flag
    for arguments in ([secret], [flag, "X-A:", secret], [flag, "x", secret], ["run", secret], [f"--zzz={secret}"]):
        assert secret not in said(capsys, *arguments)
    for line in (secret, f"{flag} {secret}", f"x = {secret}", f'x = "{secret}', f"x = '{secret}\n", f"[{secret}"):
        file = tmp_path / "courier.toml"
        file.write_text(f"senders = 1\n{line}\n")
        assert secret not in said(capsys, "--config", str(file)), line
        assert "courier.toml is not TOML at " in said(capsys, "--config", str(file)), line


@pytest.mark.parametrize("name", URLS_OF_AWS)
def test_a_url_of_aws_with_credentials_or_a_query_is_refused_and_says_where_they_belong(
    capsys: pytest.CaptureFixture[str], accepted: list[Config], name: str
) -> None:
    flag = OPTIONS[name].flag
    line = said(capsys, *required(flag), flag, f"https://someone:{SECRET[name]}@example.com/0/orders")
    assert f"{flag}: must hold no user name and no password" in line
    assert "AWS_ACCESS_KEY_ID" in line
    for url in ("https://example.com/0/orders?x=y", "https://example.com/0/orders#x", "https://example.com/0/orders?"):
        assert f"{flag}: must have no query and no fragment" in said(capsys, *required(flag), flag, url)
    assert accepted == []


def test_a_recipient_with_credentials_is_refused_and_says_where_they_belong(
    capsys: pytest.CaptureFixture[str], accepted: list[Config]
) -> None:
    line = said(capsys, "--queue", "orders", "--recipient-url", "https://someone:hunter2@example.com/")
    assert "--basic-auth-file" in line
    assert "hunter2" not in line
    assert accepted == []


@pytest.mark.parametrize("without", [{"bearer_token_file"}, {"basic_auth_file"}])
def test_a_configuration_with_every_secret_tells_none(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    accepted: list[Config],
    tmp_path: Path,
    without: set[str],
) -> None:
    for name, value in variables(tmp_path, "https://example.com", without).items():
        monkeypatch.setenv(name, value)
    text = said(capsys, "--queue", "orders")
    assert len(accepted) == 1, text
    assert [secret for secret in EVERY_SECRET if secret in text] == []
    assert MARK not in text.replace("X-Canary", "")


def test_every_way_to_find_a_secret_again_is_known() -> None:
    assert {"recipient_url", "header", "bearer_token_file", "client_key", "queue"} <= set(MAY_HOLD_SECRET)
    assert all(len(hidden(name)) == 3 for name in MAY_HOLD_SECRET)
