"""A client that sees every byte of what a recipient does to it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

from scripts.faults.recipient import Recipient

PATIENCE = 30.0
OK = b"HTTP/1.1 200 Recorded\r\nContent-Length: 2\r\n\r\nok"


class Client:
    """One connection to a recipient."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        address = urlsplit(url)
        assert address.port is not None
        self.stream = socket.create_connection(("127.0.0.1", address.port), PATIENCE)
        self.port = int(self.stream.getsockname()[1])
        if tls is not None:
            self.stream = tls.wrap_socket(self.stream, server_hostname=address.hostname)

    def send(self, message_id: str, body: bytes = b"body", *fields: str, path: str = "/in") -> None:
        """Send a request."""
        self.stream.sendall(head(message_id, len(body), *fields, path=path) + body)

    def read(self, size: int) -> bytes:
        """Read so many bytes, or up to the end of the connection."""
        return b"".join(itertools.takewhile(bool, self._pieces(size)))

    def read_to_end(self) -> tuple[bytes, bool]:
        """Read up to the end of the connection; also gives whether it was reset."""
        data = b""
        while True:
            try:
                piece = self.stream.recv(65536)
            except ConnectionError:
                return data, True
            if not piece:
                return data, False
            data += piece

    def ask(self, message_id: str, body: bytes = b"body", *fields: str) -> bytes:
        """Send a request and read an answer as long as the plain one."""
        self.send(message_id, body, *fields)
        return self.read(len(OK))

    def is_silent(self, seconds: float = 0.2) -> bool:
        """Return whether nothing comes for a while."""
        self.stream.settimeout(seconds)
        try:
            return self.stream.recv(1) is None
        except TimeoutError:
            return True
        finally:
            self.stream.settimeout(PATIENCE)

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self.stream.recv(size)
            size -= len(piece)
            yield piece


def head(message_id: str, length: int, *fields: str, path: str = "/in") -> bytes:
    """Write the head of a request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"X-Aws-Sqsd-Msgid: {message_id}",
        f"Content-Length: {length}",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def new_id() -> str:
    """Return an id like those of SQS."""
    return str(uuid.uuid4())


@contextlib.contextmanager
def connected(recipient: Recipient, tls: ssl.SSLContext | None = None) -> Iterator[Client]:
    """A connection for the length of a ``with`` block."""
    client = Client(recipient.url, tls)
    try:
        yield client
    finally:
        client.close()
