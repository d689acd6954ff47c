"""One request and its answer over the socket of a connection."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final

from urllib3.util.wait import wait_for_socket

from courier.http.answer import FIRST_BYTE_TIMEOUT, PROTOCOL, RESET, TLS, NoAnswer
from courier.http.connection import BEFORE_THE_REQUEST, CLOSED_BY_PEER
from courier.http.reader import AnswerReader, BadAnswer
from courier.http.tls import tls_error_text

# No TLS record is longer, so what OpenSSL hasn't returned is still in the kernel, and shows as unread.
_PIECE: Final = 65536

_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_monotonic = time.monotonic


class Stale(NoAnswer):
    """The server closed a used connection before any byte of this answer."""


def converse(
    stream: socket.socket, request: bytes, reader: AnswerReader, first_byte_timeout: float | None, *, reused: bool
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


def _converse(stream: socket.socket, request: bytes, reader: AnswerReader, first_byte_timeout: float | None) -> bool:
    stream.settimeout(0)
    unsent = memoryview(request)
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
                return not unsent
            if not data:
                raise ConnectionResetError
            continue
        try:
            if unsent and not hung_up:
                unsent = unsent[stream.send(unsent[:_PIECE]) :]
                sent_at = _monotonic()
                if unsent:
                    continue  # to the answer: a server that reads on could have all of the request before it is seen
        except _NOT_NOW:
            pass
        except OSError:
            hung_up = True  # an answer that came before can still be read, and says more than this error
        left = None
        if first_byte_timeout is not None and not unsent and not reader.first_byte_at:
            left = max(0.0, sent_at + first_byte_timeout - _monotonic())
        if not wait_for_socket(stream, read=True, write=bool(unsent) and not hung_up, timeout=left):
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
