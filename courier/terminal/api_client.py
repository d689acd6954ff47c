"""A client of the API for commands: one request on one connection, within a deadline and a number of bytes.

Whatever answers may be slow, silent, endless or another program. So each wait has the same deadline, each read is
bounded, and every failure is one line that says what to do. ``http.client`` bounds neither.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from courier.errors import CourierError
from courier.log.printable import one_line
from courier.server.loopback import is_address

SECONDS: Final = 3.0
"""Seconds that a request may take in all, from the name's resolution to the last byte of the answer."""

MOST_BYTES: Final = 8 * 1024 * 1024
"""Maximum bytes of an answer's body. /status of the largest Courier has less than a tenth of that."""

MOST_HEAD_BYTES: Final = 16 * 1024
READ_BYTES: Final = 64 * 1024
EXIT_UNREACHABLE: Final = 3
"""The exit code of a command that no Courier answers."""
NOT_COURIER: Final = "what answers there is not Courier"

QUEUES_PATH: Final = "/queues/"
"""The path below which an API serves each of several queues by its name."""

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\s:/?#\[\]@]+))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/(?:(?![?#@])[!-~])*)?",
    re.IGNORECASE,
)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,7})(?:;[^\r\n]*)?")


class Unreachable(CourierError):
    """No usable answer came from the API. The text says why, and what to do."""

    exit_code = EXIT_UNREACHABLE


class Address(NamedTuple):
    """Where an API is: the parts of its URL. ``path`` comes before the path of each request; it is mostly empty."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        """The URL, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class Answer(NamedTuple):
    """A whole answer: the status and the body."""

    status: int
    body: bytes


def parse_url(text: str) -> Address:
    """Return the address in a URL of http or https, without query and password; raise ValueError if it is no such."""
    found = _URL.fullmatch(text.strip())
    port = int((found and found["port"]) or 0)
    if found is None or port > 65_535:
        raise ValueError("must be a URL like http://127.0.0.1:8080")
    scheme = found["scheme"].lower()
    port = port or (443 if scheme == "https" else 80)
    return Address(scheme, found["v6"] or found["name"], port, (found["path"] or "").rstrip("/"))


def get(address: Address, path: str, seconds: float = SECONDS, most: int = MOST_BYTES) -> Answer:
    """Ask for a path, and return the answer, whatever its status.

    Raise Unreachable if it isn't whole within ``seconds``, has more than ``most`` bytes, or isn't HTTP.
    """
    with Exchange(address, path, seconds) as exchange:
        body = bytearray()
        while piece := exchange.read():
            body += piece
            if len(body) > most:
                raise exchange.fault(f"its answer has more than {most} bytes")
        return Answer(exchange.status, bytes(body))


class Exchange:
    """One request and its answer, read piece by piece. ``status`` is known from the start.

    - ``deadline``: when waiting ends, in monotonic seconds. A reader of an endless answer moves it.
    """

    def __init__(self, address: Address, path: str, seconds: float = SECONDS) -> None:
        """Connect, ask, and read the head of the answer; raise Unreachable."""
        self.deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._address = address
        self._buffer = b""
        self._socket: socket.socket | None = None
        try:
            self._socket = self._connect()
            self._send(path)
            self.status, self._left, self._chunked = self._read_head()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()

    def extend(self, seconds: float) -> None:
        """Wait at most ``seconds`` from now on; a reader of an endless answer calls it again and again."""
        self.deadline, self._seconds = time.monotonic() + seconds, seconds

    def fileno(self) -> int:
        """Return the descriptor to poll for more; what came with the head is read at once."""
        assert self._socket is not None
        return self._socket.fileno()

    def fault(self, what: str) -> Unreachable:
        """Return the error for an answer that Courier doesn't give."""
        return Unreachable(f"{self._address.url}: {what}; give the address of Courier's --api with --url")

    def read(self) -> bytes:
        """Return the next piece of the body, empty at its end; raise Unreachable."""
        if self._chunked:
            return self._read_chunk()
        if self._left == 0:
            return b""
        piece, self._buffer = self._buffer or self._receive(), b""
        if self._left is not None:
            if not piece:
                raise self._broken()
            piece = piece[: self._left]
            self._left -= len(piece)
        return piece

    def _connect(self) -> socket.socket:
        reason = "no address"
        for family, kind, protocol, _, where in self._resolve():
            opened = socket.socket(family, kind, protocol)
            try:
                opened.settimeout(self._remaining())
                opened.connect(where)
                return self._encrypt(opened)
            except OSError as error:
                opened.close()
                reason = _reason(error)
        raise self._unreachable(reason)

    def _resolve(self) -> list[Any]:
        """Return the addresses of the host. The resolver knows no deadline, so it runs in a thread."""
        host, port = self._address.host, self._address.port
        found: list[Any] = []
        failed = ["the name server doesn't answer"]

        def resolve() -> None:
            try:
                found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                failed[0] = f"cannot resolve {host}: {_reason(error)}"

        if is_address(host):
            resolve()
        else:
            thread = threading.Thread(target=resolve, daemon=True)
            thread.start()
            thread.join(self._remaining())
        if not found:
            raise self._unreachable(failed[0])
        return list(found)

    def _encrypt(self, opened: socket.socket) -> socket.socket:
        if self._address.scheme == "http":
            return opened
        # Imported here, because the API itself speaks plain HTTP: only a proxy before it has TLS.
        import ssl

        opened.settimeout(self._remaining())
        return ssl.create_default_context().wrap_socket(opened, server_hostname=self._address.host)

    def _send(self, path: str) -> None:
        host = self._address.url.partition("://")[2].removesuffix(self._address.path)
        lines = (f"GET {self._address.path}{path} HTTP/1.1", f"Host: {host}", "Accept: */*", "Connection: close")
        assert self._socket is not None
        try:
            self._socket.settimeout(self._remaining())
            self._socket.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        except OSError as error:
            raise self._unreachable(_reason(error)) from None

    def _read_head(self) -> tuple[int, int | None, bool]:
        """Return the status, the length of the body (``None``: until the end), and whether it comes in chunks."""
        while b"\r\n\r\n" not in self._buffer:
            piece = self._receive()
            self._buffer += piece
            if not piece or not self._buffer.startswith(b"HTTP/1."[: len(self._buffer)]):
                raise self.fault(NOT_COURIER)
            if len(self._buffer) > MOST_HEAD_BYTES + READ_BYTES:
                raise self.fault(NOT_COURIER)
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        found = _STATUS_LINE.fullmatch(first)
        if found is None:
            raise self.fault(NOT_COURIER)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length = headers.get(b"content-length")
        if length is not None and not _LENGTH.fullmatch(length):
            raise self.fault(NOT_COURIER)
        chunked = headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        return int(found[1]), None if length is None else int(length), chunked

    def _read_chunk(self) -> bytes:
        if self._left == 0:
            return b""
        found = _CHUNK_SIZE.fullmatch(self._read_line())
        if found is None:
            raise self.fault(NOT_COURIER)
        size = int(found[1], 16)
        if size == 0:
            self._left = 0
            return b""
        if size > MOST_BYTES:
            raise self.fault(f"its answer has more than {MOST_BYTES} bytes")
        while len(self._buffer) < size + 2:
            self._fill()
        chunk, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return chunk

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > MOST_HEAD_BYTES:
                raise self.fault(NOT_COURIER)
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _fill(self) -> None:
        piece = self._receive()
        if not piece:
            raise self._broken()
        self._buffer += piece

    def _receive(self) -> bytes:
        assert self._socket is not None
        try:
            self._socket.settimeout(self._remaining())
            return self._socket.recv(READ_BYTES)
        except OSError as error:
            raise self._unreachable(_reason(error)) from None

    def _remaining(self) -> float:
        """Return the seconds left, and raise Unreachable if there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self._unreachable("")
        return left

    def _broken(self) -> Unreachable:
        return self._unreachable("the connection ended amid the answer")

    def _unreachable(self, reason: str) -> Unreachable:
        url = self._address.url
        if not reason:
            return Unreachable(
                f"no answer from {url} within {self._seconds:g} s; see whether it hangs or is overloaded"
            )
        advice = "start it, or give the address of its --api with --url"
        return Unreachable(f"cannot reach Courier at {url}: {one_line(reason)}; {advice}")


def _reason(error: Exception) -> str:
    """Return what went wrong, empty if it was the time."""
    if isinstance(error, TimeoutError):
        return ""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return "not a valid host name" if isinstance(error, UnicodeError) else str(error) or type(error).__name__
