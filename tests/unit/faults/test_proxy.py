"""The proxy, as plain sockets meet it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from scripts.faults.proxy import Link, TcpProxy
from scripts.faults.proxy_flow import MOST_HELD
from tests.unit.faults.gated_queue import until

PATIENCE = 30.0


class Echo:
    """A server that sends back what comes, once per connection whole; ``accepted`` are its connections."""

    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        if self._listening.fileno() >= 0:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        for connection in self.accepted:
            connection.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    running = TcpProxy("127.0.0.1", echo.port)
    yield running
    running.close()


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with connect(proxy) as connected:
        assert exchange(connected, b"hello") == b"hello"
        yield connected


def connect(proxy: TcpProxy, seconds: float = PATIENCE) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), seconds)


def read(client: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (data := client.recv(size - len(got))):
        got += data
    return got


def exchange(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return read(client, len(data))


def silent(client: socket.socket, seconds: float = 0.2) -> bool:
    """Return whether nothing comes for a while."""
    client.settimeout(seconds)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(PATIENCE)
    return False


def test_a_sound_link_passes_bytes_and_the_end_of_each_direction(proxy: TcpProxy, client: socket.socket) -> None:
    big = bytes(range(256)) * 16384
    sending = threading.Thread(target=client.sendall, args=(big,))
    sending.start()
    assert read(client, len(big)) == big
    sending.join()
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    until(lambda: not proxy.pairs)


def test_it_knows_which_client_is_behind_a_port_that_the_server_sees(
    proxy: TcpProxy, echo: Echo, client: socket.socket
) -> None:
    seen = echo.accepted[0].getpeername()[1]
    assert proxy.clients[seen] == client.getsockname()[1]


def test_latency_delays_bytes_and_keeps_their_order(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.show(Link(latency_seconds=0.1))
    began = time.monotonic()
    client.sendall(b"first,")
    until(lambda: time.monotonic() > began + 0.05)
    proxy.show(Link(latency_seconds=0.02))
    assert exchange(client, b"second") == b"first,"
    assert read(client, 6) == b"second"
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("link", [Link(lose="to-server"), Link(lose="to-client"), Link(black_hole=True)])
def test_what_is_lost_arrives_once_the_link_is_sound(proxy: TcpProxy, client: socket.socket, link: Link) -> None:
    proxy.show(link)
    client.sendall(b"lost")
    assert silent(client)
    proxy.heal()
    assert read(client, 4) == b"lost"


def test_an_answer_is_lost_after_the_server_got_the_request(proxy: TcpProxy, echo: Echo, client: socket.socket) -> None:
    proxy.show(Link(lose="to-client"))
    client.sendall(b"x")
    client.shutdown(socket.SHUT_WR)
    # The echo ends its side only when it has read the whole.
    until(lambda: _ended(echo.accepted[0]))
    assert silent(client)


@pytest.mark.parametrize("link", [Link(black_hole=True), Link(lose="to-server"), Link(lose="to-client")])
def test_connecting_times_out_while_packets_are_lost(proxy: TcpProxy, link: Link) -> None:
    proxy.show(link)
    with pytest.raises(TimeoutError):
        connect(proxy, 0.5)
    proxy.heal()
    with connect(proxy) as later:
        assert exchange(later, b"again") == b"again"


def test_a_sender_waits_when_a_lossy_link_is_full(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.show(Link(lose="to-server"))
    client.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.sendall(b"x" * 100 * MOST_HELD)


@pytest.mark.parametrize("size", [0, 1, 4, 7])
def test_an_answer_is_cut_after_its_bytes(proxy: TcpProxy, client: socket.socket, size: int) -> None:
    proxy.show(Link(cut_after_bytes=size))
    client.sendall(b"request")
    assert read_until_reset(client) == b"request"[:size]
    with connect(proxy) as new:
        new.sendall(b"another")
        assert read_until_reset(new) == b"another"[:size]


def test_a_request_is_cut_after_its_bytes(proxy: TcpProxy, echo: Echo) -> None:
    proxy.show(Link(cut_after_bytes=3, cut_direction="to-server"))
    with connect(proxy) as client:
        client.sendall(b"request")
        with pytest.raises(ConnectionResetError):
            read(client, 7)
    until(lambda: not proxy.pairs)


def test_a_reset_hits_old_and_new_connections(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.show(Link(reset=True))
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionError), connect(proxy) as new:
        new.recv(1)
    proxy.heal()
    with connect(proxy) as later:
        assert exchange(later, b"again") == b"again"


def test_a_refusing_proxy_leaves_old_connections(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.show(Link(refuse=True))
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert exchange(client, b"still") == b"still"


def test_a_server_that_is_gone_resets_its_clients(proxy: TcpProxy, echo: Echo) -> None:
    echo.close()
    with pytest.raises(ConnectionError), connect(proxy) as client:
        client.recv(1)


def test_a_client_that_dies_behind_a_black_hole_is_gone_for_the_server_later(
    proxy: TcpProxy, echo: Echo, client: socket.socket
) -> None:
    proxy.show(Link(black_hole=True))
    client.close()
    assert not _ended(echo.accepted[0])
    proxy.heal()
    until(lambda: _ended(echo.accepted[0]))


def read_until_reset(client: socket.socket) -> bytes:
    got = b""
    try:
        while data := client.recv(64):
            got += data
    except ConnectionResetError:
        return got
    raise AssertionError(f"the connection ended after {got!r} without a reset")


def _ended(connection: socket.socket) -> bool:
    """Return whether the peer has sent its FIN."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return info[0] != 1  # TCP_ESTABLISHED
