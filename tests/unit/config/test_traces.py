"""The options of traces: the address of the collector, its headers, and the extra that they need."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from courier import cli
from courier.config.config import Config
from courier.config.sources import settings
from courier.errors import ConfigError
from courier.wiring.traces import parse_headers, traces_factory
from tests.unit.cli.configured import REQUIRED, configured, error_line, no_variables

__all__ = ["configured", "no_variables"]


def config(**values: Any) -> Config:
    return Config(queue="orders", recipient_url="http://127.0.0.1:1/", **values)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://otlp.example.com/otlp", "https://otlp.example.com/otlp/v1/traces"),
        ("https://otlp.example.com/otlp/v1/traces", "https://otlp.example.com/otlp/v1/traces"),
    ],
)
def test_the_path_of_traces_is_below_the_address(given: str, text: str) -> None:
    collector = config(traces=given).collector
    assert collector is not None
    assert collector.text == text


def test_without_the_option_there_are_none() -> None:
    assert config().collector is None
    assert traces_factory(config(), "orders") is None


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "ftp://a/", "http://", "http://a?b=c", "http://a#b", "http://u:p@a"])
def test_a_wrong_address_is_refused_in_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(capsys, *REQUIRED, "--traces", url)
    assert line.startswith("--traces: ")


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter"])
def test_without_the_extra_the_line_says_how_to_install_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    line = error_line(capsys, *REQUIRED, "--traces", "http://127.0.0.1:4318")
    assert line.endswith("pip install 'courier[otel]'")


def test_the_path_of_the_collector_is_shown_nowhere(configured: list[Config]) -> None:
    assert cli.main([*REQUIRED, "--traces", "https://otlp.example.com/secret-key", "--traces-sample", "5%"]) == 0
    (found,) = configured
    shown = {setting.option: setting.value for setting in settings(found, found.sources)}
    assert shown["traces"] == found.summary()["traces"] == "https://otlp.example.com"
    assert found.traces_sample == 0.05
    assert "secret-key" not in repr(found) + str(found.summary()) + str(shown)


def test_headers_are_pairs_that_may_be_percent_encoded() -> None:
    assert parse_headers("") == []
    assert parse_headers("api-key=K, x-team = a%20b%2Cc ,") == [("api-key", "K"), ("x-team", "a b,c")]


@pytest.mark.parametrize("text", ["secret", "=secret", "a=b%0D%0Asecret", "a b=secret", "host=secret"])
def test_wrong_headers_are_refused_without_their_values(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", text)
    with pytest.raises(ConfigError) as refused:
        traces_factory(config(traces="http://127.0.0.1:4318"), "orders")
    assert str(refused.value).startswith("OTEL_EXPORTER_OTLP_HEADERS: ")
    assert "secret" not in str(refused.value)
