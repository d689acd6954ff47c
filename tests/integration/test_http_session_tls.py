"""The session over TLS: whom it trusts, and what TLS changes about the end of an answer."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from courier.http import answer as reasons
from courier.http.answer import Failure
from courier.http.session import Limits
from courier.http.tls import client_context
from tests.integration.http_transports import TRANSPORTS, Client, OpenTransport, talk, trusting, until
from tests.integration.misbehaving_server import OK, PATIENCE, MisbehavingServer, Peer, answer

pytestmark = pytest.mark.parametrize("open_transport", TRANSPORTS)


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


def test_requests_share_a_verified_connection(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    server_tls.sni_callback = lambda _, name, __: names.append(name)

    async def test(client: Client) -> None:
        for _ in range(3):
            got = await client.answer()
            assert (got.status, got.body, got.request_written) == (200, b"ok", True)

    with MisbehavingServer(answer(OK, OK, OK), tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))
        assert server.connections == 1
    assert names == ["localhost"]


def test_a_certificate_of_nobody_known_is_refused(open_transport: OpenTransport, server_tls: ssl.SSLContext) -> None:
    async def test(client: Client) -> None:
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        assert failure.detail.startswith("certificate verify failed: ")

    with MisbehavingServer(answer(OK), tls=server_tls) as server:
        talk(open_transport, server.url, test)  # the context that is made where none is given


def test_a_certificate_for_another_name_is_refused(open_transport: OpenTransport, authority: trustme.CA) -> None:
    async def test(client: Client) -> None:
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        assert failure.detail.startswith("certificate verify failed: ")
        assert "localhost" in failure.detail

    with MisbehavingServer(answer(OK), tls=server_context(authority, "example.com")) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


def test_an_address_is_checked_against_the_certificate(open_transport: OpenTransport, authority: trustme.CA) -> None:
    tls = server_context(authority, "127.0.0.1")

    async def test(client: Client) -> None:
        assert (await client.answer()).status == 200

    with MisbehavingServer(answer(OK), tls=tls) as server:
        talk(open_transport, server.url.replace("localhost", "127.0.0.1"), test, tls=trusting(authority))


def test_a_server_without_tls_is_a_tls_failure(open_transport: OpenTransport) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.wait_for_close()

    async def test(client: Client) -> None:
        failure = await client.failure()
        assert (failure.reason, failure.detail) == (reasons.TLS, "wrong version number")

    with MisbehavingServer(script) as server:
        talk(open_transport, server.url.replace("http:", "https:"), test)


def test_a_server_that_closes_during_the_handshake_is_a_tls_failure(open_transport: OpenTransport) -> None:
    async def test(client: Client) -> None:
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        assert "handshake" in failure.detail

    with MisbehavingServer(Peer.close) as server:
        talk(open_transport, server.url.replace("http:", "https:"), test)


def test_a_handshake_that_never_ends_is_a_connect_timeout(open_transport: OpenTransport) -> None:
    async def test(client: Client) -> None:
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_TIMEOUT
        assert "the TLS handshake" in failure.detail

    with MisbehavingServer(Peer.wait_for_close) as server:
        talk(open_transport, server.url.replace("http:", "https:"), test, Limits(connect_timeout=0.1))


def test_a_version_before_1_2_is_refused(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    old: Any = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server_tls.minimum_version = old
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server_tls.maximum_version = old
    server_tls.set_ciphers("DEFAULT:@SECLEVEL=0")

    async def test(client: Client) -> None:
        assert (await client.failure()).reason == reasons.TLS

    with MisbehavingServer(answer(OK), tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


def test_version_1_2_is_spoken(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    server_tls.maximum_version = ssl.TLSVersion.TLSv1_2

    async def test(client: Client) -> None:
        for _ in range(2):
            assert (await client.answer()).status == 200

    with MisbehavingServer(answer(OK, OK), tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


def test_a_client_certificate_is_shown_where_the_context_has_one(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    server_tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_tls)
    known = trusting(authority)
    authority.issue_cert("courier@example.com").configure_cert(known)

    async def known_test(client: Client) -> None:
        assert (await client.answer()).status == 200

    async def unknown_test(client: Client) -> None:
        # In TLS 1.3 the client is through with the handshake before the server looks at its certificate.
        assert (await client.failure()).reason in (reasons.TLS, reasons.RESET)

    with MisbehavingServer(answer(OK), tls=server_tls) as server:
        talk(open_transport, server.url, known_test, tls=known)
        talk(open_transport, server.url, unknown_test, tls=trusting(authority))


def test_large_bodies_pass_both_ways(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    body = bytes(range(256)) * 8192

    def echo(peer: Peer) -> None:
        for _ in range(2):
            received = peer.read_request().body
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(received), received))
        peer.wait_for_close()

    async def test(client: Client) -> None:
        for _ in range(2):
            assert (await client.answer(body)).body == body

    with MisbehavingServer(echo, tls=server_tls) as server:
        talk(open_transport, server.url, test, Limits(answer_cap=4 << 20), trusting(authority))
        assert server.connections == 1


def test_an_answer_before_the_whole_request_was_written_says_so(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.wait_for_close()

    async def test(client: Client) -> None:
        assert not (await client.answer(bytes(64 << 20))).request_written

    with MisbehavingServer(script, tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


@pytest.mark.parametrize("goodbye", [True, False], ids=["through TLS", "below TLS"])
def test_the_end_of_a_body_without_a_length_has_to_come_through_tls(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext, goodbye: bool
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if goodbye:
            peer.say_goodbye()
        peer.close()

    async def test(client: Client) -> None:
        result = await client.post()
        if goodbye:
            assert not isinstance(result, Failure)
            assert result.body == b"all of it"
        else:
            assert result.reason == reasons.RESET  # type: ignore[union-attr]

    with MisbehavingServer(script, tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


@pytest.mark.parametrize("goodbye", [True, False], ids=["through TLS", "below TLS"])
def test_a_request_that_met_a_closing_connection_is_sent_again(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext, goodbye: bool
) -> None:
    def closing(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_request()
        if goodbye:
            peer.say_goodbye()
        peer.close()

    async def test(client: Client) -> None:
        for _ in range(2):
            assert (await client.answer()).status == 200
        assert server.connections == 2

    with MisbehavingServer(closing, answer(OK), tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


def test_a_byte_while_idle_ends_the_connection(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    answered, closed = threading.Event(), threading.Event()

    def talkative(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        assert answered.wait(PATIENCE)
        peer.send(OK)
        peer.wait_for_close()
        closed.set()

    async def test(client: Client) -> None:
        assert (await client.answer()).status == 200
        answered.set()
        await until(closed.is_set)
        assert (await client.answer()).status == 200
        assert server.connections == 2

    with MisbehavingServer(talkative, answer(OK), tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


def test_an_answer_in_two_records_of_one_packet_and_a_stray_one_behind_it(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK[:-1])
        peer.send(OK[-1:])
        peer.send(OK)
        peer.wait_for_close()

    async def test(client: Client) -> None:
        assert (await client.answer()).body == b"ok"
        await until(lambda: server.settled == 1)  # closed by the client, which wanted nothing more

    with MisbehavingServer(script, tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=trusting(authority))


def test_a_ca_bundle_is_enough_to_trust_a_server(
    open_transport: OpenTransport, authority: trustme.CA, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = client_context()
    context.load_verify_locations(cafile=bundle)

    async def test(client: Client) -> None:
        assert (await client.answer()).status == 200

    with MisbehavingServer(answer(OK), tls=server_tls) as server:
        talk(open_transport, server.url, test, tls=context)
