"""A run whose calls to SQS go through a proxy, over TLS, while the proxy is well, cuts, and refuses."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import trustme

from tests.integration.proxy_server import ProxyServer, TlsFront
from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, after, bodies, missing, until

HOST: Final = "sqs.us-east-1.example"
REFUSAL: Final = b"HTTP/1.1 407 hunter2\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def front(virtual_queue: str, tmp_path: Path) -> Iterator[TlsFront]:
    """Give TLS before the virtual queue, by a name that only proxies can resolve; its CA is in ``ca.pem``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(tls)
    with TlsFront(virtual_queue.removeprefix("http://"), tls) as front:
        yield front


def test_a_proxy_that_cuts_and_refuses_loses_nothing_and_its_password_is_in_no_line(
    queue: Queue, recipient: Recipient, start: Start, front: TlsFront, tmp_path: Path
) -> None:
    recipient.behave = after(0.02)
    port = front.authority.rpartition(":")[2]
    with ProxyServer(names={HOST: "127.0.0.1"}) as proxy:
        courier = start(
            queue,
            *("--senders", "2", "--concurrency", "4", "--visibility-timeout", "3", "--consumers", "2"),
            COURIER_ENDPOINT_URL=f"https://{HOST}:{port}",
            HTTPS_PROXY=f"http://user:hunter2@{proxy.authority}",
            AWS_CA_BUNDLE=str(tmp_path / "ca.pem"),
        )
        sent = queue.send(bodies(400))
        until(lambda: len(recipient.accepted) > 50, explain=courier.log)
        proxy.refusal = REFUSAL
        proxy.cut()
        until(lambda: "407 Proxy Authentication Required" in courier.log(), explain=courier.log)
        sent += queue.send(bodies(100))
        proxy.refusal = b""
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        proxy.cut()
        sent += queue.send(bodies(50))
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        assert courier.drain() == 0
        assert all(head.startswith(f"CONNECT {HOST}:{port} ".encode()) for head in proxy.heads)
    assert not missing(sent, courier.recorded())
    assert not missing(sent, recipient.accepted)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert "put user name and password into the URL of HTTPS_PROXY" in courier.log()
    assert "hunter2" not in courier.log()
