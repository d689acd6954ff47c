"""One request and its answer over the socket of a connection."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final

from urllib3.util.wait import wait_for_socket

from courier.http.answer import CANCELLED, FIRST_BYTE_TIMEOUT, PROTOCOL, RESET, TLS, NoAnswer
from courier.http.connection import BEFORE_THE_REQUEST, CLOSED_BY_PEER
from courier.http.file_body import Body, FileBody
from courier.http.reader import AnswerReader, BadAnswer
from courier.http.tls import tls_error_text

# No TLS record is longer, so what OpenSSL hasn't returned is still in the kernel, and shows as unread.
_PIECE: Final = 65536

_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_monotonic = time.monotonic


class Stale(NoAnswer):
    """The server closed a used connection before any byte of this answer."""


class Request:
    """A request on its way to a socket: its head, and its body from memory or from a file."""

    def __init__(self, head: bytes, body: Body) -> None:
        self._file = body if isinstance(body, FileBody) else None
        self._position = 0
        self._piece = memoryview(head if isinstance(body, FileBody) else head + body)

    def __bool__(self) -> bool:
        """Return whether a part of it is still to be sent."""
        return bool(self._piece) or (self._file is not None and self._position < len(self._file))

    def send(self, stream: socket.socket) -> None:
        """Send as much as the socket takes of the next piece. Raise NoAnswer if the file can't be read."""
        if not self._piece and self._file is not None:
            try:
                piece = self._file.read(self._position)
            except OSError as error:
                raise NoAnswer(CANCELLED, f"the body of the request can't be read: {error}") from None
            self._position += len(piece)
            self._piece = memoryview(piece)
        self._piece = self._piece[stream.send(self._piece[:_PIECE]) :]


def converse(
    stream: socket.socket, request: Request, reader: AnswerReader, first_byte_timeout: float | None, *, reused: bool
) -> bool:
    """Write a request, read its answer, and return whether all of the request was written.

    Reads while it writes: a server may answer, and then stop reading, before it has the whole request. ``reused``
    says that the connection has carried an exchange. There is no deadline for the whole answer: to give up, shut the
    connection down from another thread. Raises NoAnswer, and Stale if the request may be sent again.
    """
    try:
        return _converse(stream, request, reader, first_byte_timeout)
    except BadAnswer as error:
        raise NoAnswer(PROTOCOL, str(error)) from None
    except OSError as error:
        raise _no_answer(error, reader, reused=reused) from None


def _converse(stream: socket.socket, request: Request, reader: AnswerReader, first_byte_timeout: float | None) -> bool:
    stream.settimeout(0)
    was_silent = hung_up = False
    sent_at = _monotonic()
    while True:
        try:
            data = stream.recv(_PIECE)
        except _NOT_NOW:
            was_silent = True
        else:
            if data and not was_silent:
                raise NoAnswer(PROTOCOL, BEFORE_THE_REQUEST)
            if reader.feed(data) if data else reader.at_eof():
                return not request
            if not data:
                raise ConnectionResetError
            continue
        try:
            if request and not hung_up:
                request.send(stream)
                sent_at = _monotonic()
                if request:
                    continue  # to the answer: a server that reads on could have all of the request before it is seen
        except _NOT_NOW:
            pass
        except OSError:
            hung_up = True  # an answer that came before can still be read, and says more than this error
        left = None
        if first_byte_timeout is not None and not request and not reader.first_byte_at:
            left = max(0.0, sent_at + first_byte_timeout - _monotonic())
        if not wait_for_socket(stream, read=True, write=bool(request) and not hung_up, timeout=left):
            raise NoAnswer(FIRST_BYTE_TIMEOUT, f"no byte of an answer within {first_byte_timeout:g} s")


def _no_answer(error: OSError, reader: AnswerReader, *, reused: bool) -> NoAnswer:
    if isinstance(error, ssl.SSLEOFError):
        error = ConnectionResetError("the end didn't come through TLS")
    if isinstance(error, ssl.SSLError):
        return NoAnswer(TLS, tls_error_text(error))
    because = f": {error}" if error.args else ""
    if reader.received:
        return NoAnswer(RESET, f"closed in the middle of the answer{because}")
    kind = Stale if reused and isinstance(error, CLOSED_BY_PEER) else NoAnswer
    return kind(RESET, f"closed before any byte of an answer{because}")
