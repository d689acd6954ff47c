"""A forward proxy as companies have them: it tunnels on CONNECT, and forwards requests that name a whole URL."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

PATIENCE: Final = 30.0


class ProxyServer:
    """A proxy on a free loopback port, for the length of a ``with`` block; ``heads`` are those that it was sent.

    It refuses everything with ``refusal``, a whole answer, where there is one. It alone knows the addresses of
    ``names``. With ``tls`` it is spoken to over TLS.
    """

    def __init__(
        self, refusal: bytes = b"", names: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.heads: list[bytes] = []
        self.refusal = refusal
        self._names = names or {}
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._streams: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def authority(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in [self._listener, *self._streams]:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for stream in [self._listener, *self._streams]:
            stream.close()

    def cut(self) -> None:
        """Cut all connections, as a proxy does that is restarted; new ones are accepted."""
        for stream in list(self._streams):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                self._streams.append(stream)
                self._start(self._serve, stream)

    def _serve(self, client: socket.socket) -> None:
        if self._tls is not None:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:
                return
            self._streams.append(client)
        head, rest = b"", b""
        while b"\r\n\r\n" not in head:
            try:
                data = client.recv(65536)
            except OSError:
                return
            if not data:
                return
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        self.heads.append(head)
        method, where, _ = head.split(b"\r\n")[0].split(b" ")
        if self.refusal:
            with contextlib.suppress(OSError):
                client.sendall(self.refusal)
                client.shutdown(socket.SHUT_WR)
        elif method == b"CONNECT":
            server = self._connect(*where.decode().rsplit(":", 1))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._relay(client, server)
        else:
            url = urlsplit(where.decode())
            server = self._connect(url.hostname or "", str(url.port or 80))
            server.sendall(head.replace(where, url.path.encode(), 1) + b"\r\n\r\n" + rest)
            self._relay(client, server)

    def _connect(self, host: str, port: str) -> socket.socket:
        server = socket.create_connection((self._names.get(host, host), int(port)), PATIENCE)
        self._streams.append(server)
        return server

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        self._start(self._copy, server, client)
        self._copy(client, server)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _start(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


class TlsFront(ProxyServer):
    """TLS before a server that speaks without it, at a host and port of this machine."""

    def __init__(self, authority: str, tls: ssl.SSLContext) -> None:
        super().__init__(tls=tls)
        self._target = authority.rsplit(":", 1)

    def _serve(self, client: socket.socket) -> None:
        assert self._tls is not None
        try:
            client = self._tls.wrap_socket(client, server_side=True)
        except OSError:
            return
        self._streams.append(client)
        self._relay(client, self._connect(*self._target))
