"""A recipient's TLS, and what it does to connections before their first request."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.faults.recipient import Recipient
from scripts.faults.recipient_behaviours import Behaviour
from tests.process.world import until
from tests.unit.faults.recipient_client import OK, Client, connected, new_id


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    with Recipient(tls=True) as running:
        yield running


@pytest.fixture
def trusting(recipient: Recipient, tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(recipient.write_authority(tmp_path / "authority.pem")))


def test_requests_come_over_tls(recipient: Recipient, trusting: ssl.SSLContext) -> None:
    body = b"x" * 300_000
    with connected(recipient, trusting) as client:
        assert client.ask(new_id(), body) == OK
        assert client.ask(new_id()) == OK
        assert {each.port for each in recipient.deliveries} == {client.port}
        recipient.go_away()
        assert client.read_to_end()[0] == b""
    with pytest.raises(ConnectionRefusedError):
        Client(recipient.url, trusting)


def test_an_answer_is_cut_over_tls_too(recipient: Recipient, trusting: ssl.SSLContext) -> None:
    recipient.behave = Behaviour("reset-at")
    for cut in range(4):
        with connected(recipient, trusting) as client:
            client.send(new_id())
            assert client.read_to_end()[0] == OK[:cut]
    assert [each.answered for each in recipient.deliveries] == [None] * 4


@pytest.mark.parametrize("kind", ["handshake-reset", "handshake-close", "handshake-garbage", "untrusted"])
def test_a_handshake_fails(recipient: Recipient, trusting: ssl.SSLContext, kind: str) -> None:
    recipient.behave = Behaviour(kind)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        Client(recipient.url, trusting)
    assert isinstance(caught.value, ConnectionResetError if kind == "handshake-reset" else ssl.SSLError)
    recipient.behave = Behaviour()
    with connected(recipient, trusting) as client:
        assert client.ask(new_id()) == OK


def test_a_handshake_hangs(recipient: Recipient, trusting: ssl.SSLContext) -> None:
    recipient.behave = Behaviour("handshake-silence")
    with connected(recipient) as client:
        client.stream.settimeout(0.3)
        with pytest.raises(TimeoutError):
            trusting.wrap_socket(client.stream, server_hostname="localhost")
    recipient.behave = Behaviour()
    with connected(recipient, trusting) as client:
        assert client.ask(new_id()) == OK


def test_a_share_of_the_handshakes_fails(recipient: Recipient, trusting: ssl.SSLContext) -> None:
    recipient.behave = (Behaviour("handshake-reset", share=0.5, seed=3), Behaviour("status", status=201))
    failed = 0
    for _ in range(20):
        try:
            with connected(recipient, trusting) as client:
                assert client.ask(new_id()).startswith(b"HTTP/1.1 201 ")
        except ConnectionResetError:
            failed += 1
    assert 0 < failed < 20
    assert len(recipient.deliveries) == 20 - failed


def test_idle_connections_have_to_pass_the_door(recipient: Recipient, trusting: ssl.SSLContext) -> None:
    with connected(recipient, trusting) as client:
        assert client.ask(new_id()) == OK
        recipient.behave = Behaviour("handshake-reset")
        assert client.read_to_end()[0] == b""
    until(lambda: not recipient.connections)
    assert recipient.held == []


def test_a_client_that_speaks_no_tls_harms_nobody_else(recipient: Recipient, trusting: ssl.SSLContext) -> None:
    with connected(recipient) as client:
        client.send(new_id())
        client.read_to_end()
    with connected(recipient, trusting) as client:
        assert client.ask(new_id()) == OK
    assert len(recipient.deliveries) == 1


@pytest.mark.parametrize("kind", ["handshake-reset", "handshake-close", "handshake-garbage"])
def test_without_tls_the_first_bytes_are_met(kind: str) -> None:
    with Recipient() as recipient:
        recipient.behave = Behaviour(kind)
        with connected(recipient) as client:
            client.send(new_id())
            if kind == "handshake-garbage":
                assert client.read(7) == b"\x16\x03\x03\x00\x05ga"
            else:
                assert client.read_to_end() == (b"", kind == "handshake-reset")
        assert len(recipient.deliveries) == 0
