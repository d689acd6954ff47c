"""From the configuration to the transport of a sender, and whom it trusts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import trustme

from courier.config.config import Config
from courier.errors import CannotStart
from courier.http.exchange import Transport
from courier.http.requests.transport import RequestsTransport
from courier.http.session import Session
from courier.preflight import preflight
from courier.wiring.recipient import recipient_tls, transport_factory


@pytest.fixture(autouse=True)
def _nothing_of_requests_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def config(**values: Any) -> Config:
    given: dict[str, Any] = {"queue_type": "nop", "recipient_url": "https://127.0.0.1:1/", "audit": "none"}
    return Config(**(given | values))


def made(**values: Any) -> Transport:
    async def make() -> Transport:
        made = transport_factory(config(**values))(asyncio.get_running_loop(), None)
        made.close()
        return made

    return asyncio.run(make())


def authorities(**values: Any) -> int:
    context = recipient_tls(config(**values))
    assert context is not None
    return context.cert_store_stats()["x509_ca"]


def test_the_transport_is_the_one_that_was_chosen() -> None:
    assert isinstance(made(), Session)
    assert isinstance(made(transport="requests"), RequestsTransport)


def test_requests_alone_trusts_the_bundle_of_its_variable(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(bundle))
        assert authorities(transport="requests") == 1
        assert authorities() != 1
        monkeypatch.delenv(name)


def test_an_option_stands_above_the_variable(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    assert authorities(transport="requests", ca_file=bundle) == 1


def test_a_bundle_that_is_not_there_stops_the_start_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(CannotStart, match="REQUESTS_CA_BUNDLE: cannot read"):
        recipient_tls(config(transport="requests"))
    checks = preflight(config(transport="requests")).checks
    assert [check.detail for check in checks if not check.ok] == [
        f"REQUESTS_CA_BUNDLE: cannot read {tmp_path / 'nowhere.pem'}"
    ]
