"""Options that say how deliveries are requested: presets below all that is given, and options given several times."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier import cli
from courier.config.config import OPTIONS, Config
from courier.config.presets import PRESETS
from tests.unit.cli.configured import REQUIRED, configured, error_line, no_variables

__all__ = ["configured", "no_variables"]


def write(tmp_path: Path, content: str) -> str:
    path = tmp_path / "courier.toml"
    path.write_text(content)
    return str(path)


def test_a_preset_stands_in_for_the_defaults(configured: list[Config]) -> None:
    assert cli.main([*REQUIRED, "--preset", "sqsd"]) == 0
    [config] = configured
    assert {name: getattr(config, name) for name in PRESETS["sqsd"]} == PRESETS["sqsd"]
    assert config.content_type == "application/json"
    assert (config.connect_timeout_seconds, config.timeout_seconds, config.visibility_timeout_seconds) == (5, 299, 300)


def test_option_variable_and_file_each_beat_the_preset(
    configured: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write(tmp_path, 'visibility-timeout = 60\npreset = "sqsd"\ncontent-type = "a/file"')
    monkeypatch.setenv("COURIER_CONTENT_TYPE", "a/variable")
    assert cli.main([*REQUIRED, "--timeout", "30", "--config", file]) == 0
    [config] = configured
    assert (config.timeout_seconds, config.visibility_timeout_seconds, config.content_type) == (30, 60, "a/variable")
    assert config.connect_timeout_seconds == 5


@pytest.mark.parametrize("first", ["--preset", "--config"])
def test_a_preset_stands_below_the_file_wherever_it_is_given(
    configured: list[Config], tmp_path: Path, first: str
) -> None:
    config = ["--config", write(tmp_path, "visibility-timeout = 60")]
    preset = ["--preset", "sqsd"]
    assert cli.main([*REQUIRED, *(preset + config if first == "--preset" else config + preset)]) == 0
    assert configured[0].visibility_timeout_seconds == 60
    assert configured[0].timeout_seconds == 299


def test_a_preset_comes_from_its_variable_too(configured: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURIER_PRESET", "sqsd")
    assert cli.main(REQUIRED) == 0
    assert configured[0].timeout_seconds == 299


def test_an_option_may_be_repeated_and_each_place_replaces_the_next(
    configured: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write(tmp_path, 'header = ["X-File: 1", "X-File-2: {queue}"]\nwebhook-secret-file = ["/a", "/b"]')
    assert cli.main([*REQUIRED, "--config", file]) == 0
    monkeypatch.setenv("COURIER_HEADER", "X-Variable: a, b\n\nX-Variable-2: {group}\n")
    assert cli.main([*REQUIRED, "--config", file]) == 0
    assert cli.main([*REQUIRED, "--config", file, "--header", "X-Option: {queue}", "--header", "X-Option-2: 2"]) == 0
    assert [[header.name for header in config.header] for config in configured] == [
        ["X-File", "X-File-2"],
        ["X-Variable", "X-Variable-2"],
        ["X-Option", "X-Option-2"],
    ]
    assert configured[0].webhook_secret_file == (Path("/a"), Path("/b"))


def test_a_wrong_header_is_told_with_where_it_was_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = "X-A: there is no such placeholder; did you mean {queue}? the placeholders are queue, message_id,"
    assert error_line(capsys, *REQUIRED, "--header", "X-A: {queu}").startswith(f"--header: {said}")
    file = write(tmp_path, 'header = ["X-A: {queu}"]')
    assert error_line(capsys, *REQUIRED, "--config", file).startswith(f"header in the file of --config: {said}")
    monkeypatch.setenv("COURIER_HEADER", "X-A: {queu}")
    assert error_line(capsys, *REQUIRED).startswith(f"COURIER_HEADER: {said}")


def test_no_option_takes_a_secret() -> None:
    assert not {"--webhook-secret", "--bearer-token", "--basic-auth"} & {option.flag for option in OPTIONS.values()}
