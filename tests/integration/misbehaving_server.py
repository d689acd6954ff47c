"""An HTTP server that does what a script tells it to, byte for byte, however wrong.

Each connection has a script of its own, a plain function that runs in a thread: the client under test may have an
event loop or not. The scripts are given in the order of the connections; the last one serves all that come later.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

# How long a script waits for the client before the test has failed, seconds.
PATIENCE: Final = 30.0

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Gone(Exception):
    """The client closed the connection; the end of a script that waited for more of it."""


class Request(NamedTuple):
    """A request as it came: ``head`` with its empty line."""

    head: bytes
    body: bytes


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._unread = b""

    def read_head(self) -> bytes:
        """Read up to the end of a head, and no further on the client's account."""
        while b"\r\n\r\n" not in self._unread:
            self._read_more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def read_request(self) -> Request:
        """Read a whole request, framed by Content-Length. Raises Gone where the client closed instead."""
        head = self.read_head()
        lines = [line.partition(b":") for line in head.split(b"\r\n")]
        length = next(int(value) for name, _, value in lines if name.lower() == b"content-length")
        while len(self._unread) < length:
            self._read_more()
        body, self._unread = self._unread[:length], self._unread[length:]
        return Request(head, body)

    def send(self, data: bytes) -> None:
        """Send bytes. Raises Gone where the client has closed."""
        try:
            self._stream.sendall(data)
        except (ConnectionError, ssl.SSLError):
            raise Gone from None

    def trickle(self, data: bytes, size: int = 1) -> None:
        """Send bytes in pieces, each in a packet of its own as far as one can tell."""
        for start in range(0, len(data), size):
            self.send(data[start : start + size])
            time.sleep(0.0005)

    def send_for_ever(self, data: bytes) -> None:
        """Send the same bytes until the client closes, which raises Gone."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.send(data)
        raise AssertionError("the client took all that it was sent and didn't close")

    def wait_for_close(self) -> None:
        """Wait until the client closes; whatever it sends before is thrown away."""
        with contextlib.suppress(Gone):
            while True:
                self._unread = b""
                self._read_more()

    def closes_within(self, seconds: float) -> bool:
        """Wait until the client closes, and return whether it did; whatever it sends before is thrown away."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._stream.settimeout(left)
                self._unread = b""
                self._read_more()
        except Gone:
            return True
        except TimeoutError:
            pass
        finally:
            self._stream.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        """Close in order: the client reads what was sent and then the end; over TLS, the end of the connection only."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_WR)
        self._stream.close()

    def say_goodbye(self) -> None:
        """Over TLS: say that nothing follows, the way TLS wants it said."""
        assert isinstance(self._stream, ssl.SSLSocket)
        with contextlib.suppress(OSError):
            self._stream.unwrap()

    def reset(self) -> None:
        """Close with a TCP reset, which throws away what the client hasn't read."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()

    def _read_more(self) -> None:
        try:
            data = self._stream.recv(65536)
        except (ConnectionError, ssl.SSLError):
            raise Gone from None
        if not data:
            raise Gone
        self._unread += data


Script = Callable[[Peer], None]


def answer(*answers: bytes, then: str = "wait_for_close") -> Script:
    """Make a script: read a request for each of the answers and send it, then do what a method of the peer does."""

    def script(peer: Peer) -> None:
        for data in answers:
            peer.read_request()
            peer.send(data)
        getattr(peer, then)()

    return script


silent: Final = answer(b"")
"""A script that answers nothing."""


def talkative(answered: threading.Event, closed: threading.Event) -> Script:
    """Make a script: answer a request, and again, unasked, once it is ``answered``; then wait until it is closed."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        assert answered.wait(PATIENCE)
        peer.send(OK)
        peer.wait_for_close()
        closed.set()

    return script


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that the kernel drops whoever knocks."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


class MisbehavingServer:
    """A server on a free loopback port, for the length of a ``with`` or an ``async with`` block.

    At its end every connection is closed, and a script that failed fails the test. ``connections`` is how many were
    accepted, ``settled`` how many scripts have ended.
    """

    def __init__(
        self, *scripts: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._scripts = scripts
        self._tls = tls
        self._host = host
        self._listener = socket.create_server((host, port))
        self._listener.settimeout(PATIENCE)
        self._streams: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self.connections = 0
        self.settled = 0

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Where to send requests."""
        return f"https://localhost:{self.port}/hook" if self._tls else f"http://{self._host}:{self.port}/hook"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(PATIENCE)
        for stream in self._streams:
            stream.close()
        if self._errors and error is None:
            raise self._errors[0]

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *error: Any) -> None:
        # Beside the loop, which has connections of its own to close.
        await asyncio.to_thread(self.__exit__, *error)

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            stream.settimeout(PATIENCE)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._streams.append(stream)
            self._start(self._serve, stream, script)

    def _serve(self, stream: socket.socket, script: Script) -> None:
        try:
            if self._tls is not None:
                try:
                    stream = self._tls.wrap_socket(stream, server_side=True)
                except OSError:
                    return  # the client refused the handshake, or this side did
                self._streams.append(stream)
            script(Peer(stream))
        except Gone:
            pass
        except BaseException as failure:
            self._errors.append(failure)
        finally:
            stream.close()
            self.settled += 1

    def _start(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()


def on_one_port(script: Script, *hosts: str) -> list[MisbehavingServer]:
    """Return a server for each address, all on one port: one that is free on the first may be taken on another."""
    for _ in range(50):
        servers = [MisbehavingServer(script, host=hosts[0])]
        try:
            servers += [MisbehavingServer(script, host=host, port=servers[0].port) for host in hosts[1:]]
        except OSError:
            for server in servers:
                with server:
                    pass
            continue
        return servers
    raise AssertionError(f"no port is free on all of {hosts}")
