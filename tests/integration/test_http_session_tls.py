"""The session over TLS: whom it trusts, and what TLS changes about the end of an answer."""

from __future__ import annotations

import ssl
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from courier.http import answer as reasons
from courier.http.answer import Failure
from courier.http.session import SessionLimits
from courier.http.tls import client_context
from tests.integration.http_transports import OpenTransport, Talking, talking_over, transport, trusting
from tests.integration.misbehaving_server import OK, MisbehavingServer, Peer, answer, talkative
from tests.waiting import until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    return server_context(authority, "localhost", "127.0.0.1")


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def secure(open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext) -> Talking:
    """Return what posts over TLS to a server that is trusted."""
    return partial(talking_over, open_transport, tls=trusting(authority), server_tls=server_tls)


async def test_requests_share_a_verified_connection(secure: Talking, server_tls: ssl.SSLContext) -> None:
    names: list[str | None] = []
    server_tls.sni_callback = lambda _, name, __: names.append(name)

    async with secure(answer(OK, OK, OK)) as (client, server):
        for _ in range(3):
            got = await client.answer()
            assert (got.status, got.body, got.request_written) == (200, b"ok", True)
    assert server.connections == 1
    assert names == ["localhost"]


async def test_a_certificate_of_nobody_known_is_refused(talking: Talking, server_tls: ssl.SSLContext) -> None:
    # the context that is made where none is given
    async with talking(answer(OK), server_tls=server_tls) as (client, _):
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        assert failure.detail.startswith("certificate verify failed: ")


async def test_a_certificate_for_another_name_is_refused(secure: Talking, authority: trustme.CA) -> None:
    async with secure(answer(OK), server_tls=server_context(authority, "example.com")) as (client, _):
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        assert failure.detail.startswith("certificate verify failed: ")
        assert "localhost" in failure.detail


async def test_an_address_is_checked_against_the_certificate(secure: Talking, authority: trustme.CA) -> None:
    tls = server_context(authority, "127.0.0.1")
    async with secure(answer(OK), replacing=("localhost", "127.0.0.1"), server_tls=tls) as (client, _):
        assert (await client.answer()).status == 200


async def test_a_server_without_tls_is_a_tls_failure(talking: Talking) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.wait_for_close()

    async with talking(script, replacing=("http:", "https:")) as (client, _):
        failure = await client.failure()
        assert (failure.reason, failure.detail) == (reasons.TLS, "wrong version number")


async def test_a_server_that_closes_during_the_handshake_is_a_tls_failure(talking: Talking) -> None:
    async with talking(Peer.close, replacing=("http:", "https:")) as (client, _):
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        assert "handshake" in failure.detail


async def test_a_handshake_that_never_ends_is_a_connect_timeout(talking: Talking) -> None:
    async with talking(
        Peer.wait_for_close, replacing=("http:", "https:"), limits=SessionLimits(connect_timeout=0.1)
    ) as (client, _):
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_TIMEOUT
        assert "the TLS handshake" in failure.detail


async def test_a_version_before_1_2_is_refused(secure: Talking, server_tls: ssl.SSLContext) -> None:
    old: Any = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server_tls.minimum_version = old
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server_tls.maximum_version = old
    server_tls.set_ciphers("DEFAULT:@SECLEVEL=0")

    async with secure(answer(OK)) as (client, _):
        assert (await client.failure()).reason == reasons.TLS


async def test_version_1_2_is_spoken(secure: Talking, server_tls: ssl.SSLContext) -> None:
    server_tls.maximum_version = ssl.TLSVersion.TLSv1_2

    async with secure(answer(OK, OK)) as (client, _):
        for _ in range(2):
            assert (await client.answer()).status == 200


async def test_a_client_certificate_is_shown_where_the_context_has_one(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    server_tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_tls)
    known = trusting(authority)
    authority.issue_cert("courier@example.com").configure_cert(known)

    with MisbehavingServer(answer(OK), tls=server_tls) as server:
        async with transport(open_transport, server.url, tls=known) as client:
            assert (await client.answer()).status == 200
        async with transport(open_transport, server.url, tls=trusting(authority)) as client:
            # In TLS 1.3 the client is through with the handshake before the server looks at its certificate.
            assert (await client.failure()).reason in (reasons.TLS, reasons.RESET)


async def test_large_bodies_pass_both_ways(secure: Talking) -> None:
    body = bytes(range(256)) * 8192

    def echo(peer: Peer) -> None:
        for _ in range(2):
            received = peer.read_request().body
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(received), received))
        peer.wait_for_close()

    async with secure(echo, limits=SessionLimits(answer_cap=4 << 20)) as (client, server):
        for _ in range(2):
            assert (await client.answer(body)).body == body
    assert server.connections == 1


async def test_an_answer_before_the_whole_request_was_written_says_so(secure: Talking) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.wait_for_close()

    async with secure(script) as (client, _):
        assert not (await client.answer(bytes(64 << 20))).request_written


@pytest.mark.parametrize("goodbye", [True, False], ids=["through TLS", "below TLS"])
async def test_the_end_of_a_body_without_a_length_has_to_come_through_tls(secure: Talking, goodbye: bool) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if goodbye:
            peer.say_goodbye()
        peer.close()

    async with secure(script) as (client, _):
        result = await client.post()
        if goodbye:
            assert not isinstance(result, Failure)
            assert result.body == b"all of it"
        else:
            assert result.reason == reasons.RESET  # type: ignore[union-attr]


@pytest.mark.parametrize("goodbye", [True, False], ids=["through TLS", "below TLS"])
async def test_a_request_that_met_a_closing_connection_is_sent_again(secure: Talking, goodbye: bool) -> None:
    def closing(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_request()
        if goodbye:
            peer.say_goodbye()
        peer.close()

    async with secure(closing, answer(OK)) as (client, server):
        for _ in range(2):
            assert (await client.answer()).status == 200
        assert server.connections == 2


async def test_a_byte_while_idle_ends_the_connection(secure: Talking) -> None:
    answered, closed = threading.Event(), threading.Event()

    async with secure(talkative(answered, closed), answer(OK)) as (client, server):
        assert (await client.answer()).status == 200
        answered.set()
        await until(closed.is_set)
        assert (await client.answer()).status == 200
        assert server.connections == 2


async def test_an_answer_in_two_records_of_one_packet_and_a_stray_one_behind_it(secure: Talking) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK[:-1])
        peer.send(OK[-1:])
        peer.send(OK)
        peer.wait_for_close()

    async with secure(script) as (client, server):
        assert (await client.answer()).body == b"ok"
        await until(lambda: server.settled == 1)  # closed by the client, which wanted nothing more


async def test_a_ca_bundle_is_enough_to_trust_a_server(secure: Talking, authority: trustme.CA, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = client_context()
    context.load_verify_locations(cafile=bundle)

    async with secure(answer(OK), tls=context) as (client, _):
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_that_names_the_server_in_its_common_name_alone_is_refused(
    secure: Talking, authority: trustme.CA, host: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(common_name=host).configure_cert(context)

    async with secure(answer(OK), replacing=("localhost", host), server_tls=context) as (client, _):
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        # Python 3.13 finds that before it compares names.
        assert "mismatch" in failure.detail or "Empty Subject Alternative Name" in failure.detail


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_that_names_the_server_among_others_is_taken(
    secure: Talking, authority: trustme.CA, host: str
) -> None:
    context = server_context(authority, "other.example", host)
    async with secure(answer(OK), replacing=("localhost", host), server_tls=context) as (client, _):
        assert (await client.answer()).status == 200
