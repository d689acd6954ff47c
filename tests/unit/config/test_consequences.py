"""What follows from what was given: defaults that make way, and notes on what has no effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from courier import cli
from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.config.consequences import ORDERED, OptionNote, adapt_defaults, options_without_effect, unknown_variables
from courier.errors import ConfigError

REQUIRED = ["--queue", "orders", "--recipient-url", "http://127.0.0.1:1/"]


def notes(**values: Any) -> list[OptionNote]:
    config = Config(**({"queue": "orders", "recipient_url": "http://127.0.0.1:1/"} | values))
    return options_without_effect(config, values, {})


def named(found: list[OptionNote]) -> set[str]:
    return {note.name for note in found}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*[name for option in OPTIONS.values() for name in option.variables], "COURIER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"audit": "none", "audit_path": Path("a"), "audit_format": "text"}, {"--audit-path", "--audit-format"}),
        ({"audit": "none", "audit_policy": "required"}, {"--audit-policy"}),
        ({"audit": "none", "audit_events": "all", "audit_format": "text"}, {"--audit-events", "--audit-format"}),
        ({"audit_events": "all"}, set()),
        ({"firehose_stream": "records"}, {"--firehose-stream"}),
        ({"audit": "none", "dedupe_window": 9}, {"--dedupe-window"}),
        ({"audit": "none", "dedupe_window": 0}, set()),
        ({"audit_policy": "best-effort", "dedupe_window": 9}, {"--dedupe-window"}),
        ({"audit_policy": "required", "dedupe_window": 9}, set()),
        ({"queue_type": "nop", "dedupe_window": 9}, {"--dedupe-window"}),
        ({"reject_share": 0.0, "reject_window_seconds": 9.0}, {"--reject-window"}),
        ({"reject_share": 0.5, "reject_window_seconds": 9.0}, set()),
        ({"breaker_threshold": 0, "breaker_cool_down_seconds": 1.0}, set()),
        ({"breaker_threshold": 0, "reject_share": 0.0, "breaker_cool_down_seconds": 1.0}, {"--breaker-cool-down"}),
        ({"success": "500-599", "retry": "500-599"}, {"--retry"}),
        ({"success": "200-299,500", "retry": "500-599"}, set()),
        ({"success": "200-499", "reject": "300-499"}, {"--reject"}),
        ({"success": "200", "retry": "300-599", "reject": "200,300-499"}, {"--reject"}),
        ({"reject": "300-499"}, set()),
        ({"retry": "", "reject": ""}, set()),
        ({"retry_delay_seconds": 2.0, "backoff_cap_seconds": 5.0}, {"--backoff-cap"}),
        ({"queue_type": "nop", "wait_time_seconds": 1}, {"--wait-time"}),
        ({"queue_type": "virtual", "region": "eu-west-1"}, {"--region"}),
        ({"adaptive": True, "concurrency": 1}, {"--adaptive"}),
        ({"api": "none", "api_host": ("courier",)}, {"--api-host"}),
        ({"api": "127.0.0.1:0", "api_host": ("courier",)}, set()),
        ({"max_in_flight": 64}, {"--max-in-flight"}),
        ({"max_in_flight": 63}, set()),
        ({"headers": "none", "attribute_headers": "prefixed"}, {"--attribute-headers"}),
        ({"headers": "none", "attribute_headers": "bare"}, set()),
    ],
)
def test_an_option_without_effect_is_named(values: dict[str, Any], flags: set[str]) -> None:
    found = notes(**values)
    assert named(found) == flags
    assert all(note.reason for note in found)


def test_a_default_is_never_noted() -> None:
    config = Config(queue="orders", recipient_url="http://127.0.0.1:1/", audit="none", queue_type="nop")
    assert options_without_effect(config, {"queue_type", "audit", "recipient_url"}, {}) == []


def test_a_fragment_is_noted_and_its_text_is_not_shown() -> None:
    [note] = notes(recipient_url="http://127.0.0.1:1/in#secret")
    assert note.name == "--recipient-url"
    assert "secret" not in note.reason


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_that_native_deliveries_would_not_use_is_noted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://user:password@proxy:3128")
    environment = {name: "http://user:password@proxy:3128"}
    config = Config(queue="orders", recipient_url="http://recipient.example/")
    [note] = options_without_effect(config, (), environment)
    assert note.name == name
    assert "password" not in note.reason
    requests = Config(queue="orders", recipient_url="http://recipient.example/", transport="requests")
    assert options_without_effect(requests, (), environment) == []
    monkeypatch.setenv("NO_PROXY", "recipient.example")
    assert options_without_effect(config, (), environment) == []


def test_the_ca_bundle_of_requests_is_noted_for_the_native_transport() -> None:
    config = Config(queue="orders", recipient_url="https://recipient.example/")
    [note] = options_without_effect(config, (), {"REQUESTS_CA_BUNDLE": "/etc/ca.pem"})
    assert "--ca-file" in note.reason


def test_an_unknown_variable_is_named_with_the_nearest_option_and_without_its_value() -> None:
    [note] = unknown_variables({"COURIER_SENDER": "8", "PATH": "/bin", "COURIER_SENDERS": "8"})
    assert note.name == "COURIER_SENDER"
    assert "COURIER_SENDERS" in note.reason
    [far] = unknown_variables(["COURIER_QQQQ"])
    assert "courier --help" in far.reason


def test_no_variable_that_is_read_is_noted() -> None:
    known = [option.variables[0] for option in OPTIONS.values()]
    others = ["COURIER_CONFIG", "COURIER_WEBHOOK_SECRET", "COURIER_HARNESS_RATE", "COURIER_VIRTUAL_PORT"]
    kubernetes = ["COURIER_SERVICE_HOST", "COURIER_PORT", "COURIER_PORT_8080_TCP_ADDR"]
    assert unknown_variables([*known, *others, *kubernetes]) == []


def test_variables_of_the_other_commands_are_known() -> None:
    for name in cli.COMMANDS:
        command = cli.courier.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        for parameter in command.params:
            names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
            assert unknown_variables(names) == []


@pytest.mark.parametrize(("lesser", "greater"), ORDERED)
def test_a_default_makes_way_for_what_was_given(lesser: str, greater: str) -> None:
    low, high = DEFAULTS[lesser] / 2, DEFAULTS[greater] * 2
    assert adapt_defaults({**DEFAULTS, greater: low}, {greater}) == {lesser: low}
    assert adapt_defaults({**DEFAULTS, lesser: high}, {lesser}) == {greater: high}
    assert adapt_defaults(DEFAULTS, {lesser, greater}) == {}


seconds = st.floats(0.1, 1000.0)


@settings(deadline=None)
@drawn(st.sets(st.sampled_from(sorted({name for pair in ORDERED for name in pair}))), st.data())
def test_options_fit_together_unless_both_of_a_pair_were_given(names: set[str], data: st.DataObject) -> None:
    values = {**DEFAULTS, "queue": "orders", "recipient_url": "http://127.0.0.1:1/"}
    values |= {name: data.draw(seconds) for name in names}
    values |= adapt_defaults(values, names)
    contradictions = [pair for pair in ORDERED if set(pair) <= names and values[pair[0]] > values[pair[1]]]
    try:
        Config(**values)
    except ConfigError:
        assert contradictions
    else:
        assert not contradictions


def test_a_short_timeout_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Config] = []

    def run(config: Config, _read_again: object) -> int:
        ran.append(config)
        return 0

    monkeypatch.setattr("courier.pipeline.run", run)
    assert cli.main([*REQUIRED, "--timeout", "2"]) == 0
    assert (ran[0].timeout_seconds, ran[0].connect_timeout_seconds) == (2.0, 2.0)
    assert cli.main([*REQUIRED, "--timeout", "2", "--connect-timeout", "3"]) == 2


def test_notes_are_lines_of_the_log_before_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("courier.pipeline.run", lambda config, read_again: 0)
    monkeypatch.setenv("COURIER_SENDER", "s3cret")
    monkeypatch.setenv("AWS_FIREHOSE_STREAM", "for-somebody-else")
    assert cli.main([*REQUIRED, "--audit", "none", "--audit-path", "x"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "name=--audit-path" in lines[0]
    assert "name=COURIER_SENDER" in lines[1]
    assert "s3cret" not in lines[1]
