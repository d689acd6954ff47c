"""One request and its answer over a socket, in a thread of its own."""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Final

from courier.http.answer import FIRST_BYTE_TIMEOUT, PROTOCOL, RESET, TLS
from courier.http.connection import CLOSED_BY_PEER
from courier.http.reader import AnswerReader, BadAnswer
from courier.http.requests_attempt import NoAnswer
from courier.http.tls import said

_PIECE: Final = 65536

# Over TLS neither side may be ready though the other is.
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_monotonic = time.monotonic


class Conversation:
    """Writes a request and reads its answer, as either side is ready: a server may answer before it has read all.

    ``stream`` may be plain or TLS; ``reused`` says that it has carried an exchange before. There is no deadline:
    whoever gives up shuts the connection down, from another thread.
    """

    def __init__(self, stream: socket.socket, request: bytes, reader: AnswerReader, *, reused: bool) -> None:
        self._stream = stream
        self._unsent = memoryview(request)
        self._reader = reader
        self._reused = reused
        self._hung_up = False
        self._sent_at = _monotonic()
        self._ready = select.poll()

    def run(self, first_byte_timeout: float | None) -> bool:
        """Return, once the answer is complete, whether all of the request was written. Raises NoAnswer."""
        self._stream.settimeout(0)
        while True:
            if self._unsent and not self._hung_up:
                self._write()
            data = self._read()
            if data is None:
                self._wait(first_byte_timeout)
            elif self._is_complete(data):
                return not self._unsent

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[self._stream.send(self._unsent[:_PIECE]) :]
            self._sent_at = _monotonic()
        except _NOT_NOW:
            pass
        except OSError:
            # What it has answered before it closed can still be read, and tells more than this.
            self._hung_up = True

    def _read(self) -> bytes | None:
        """Return what has come, nothing at the end, None where nothing is there yet."""
        try:
            return self._stream.recv(_PIECE)
        except _NOT_NOW:
            return None
        except ssl.SSLEOFError:
            raise self._cut(ConnectionResetError("the end didn't come through TLS")) from None
        except ssl.SSLError as error:
            raise NoAnswer(TLS, said(error)) from None
        except OSError as error:
            raise self._cut(error) from None

    def _is_complete(self, data: bytes) -> bool:
        if data:
            try:
                return self._reader.feed(data)
            except BadAnswer as error:
                raise NoAnswer(PROTOCOL, str(error)) from None
        if self._reader.at_eof():
            return True
        raise self._cut(None)

    def _wait(self, first_byte_timeout: float | None) -> None:
        writing = self._unsent and not self._hung_up
        self._ready.register(self._stream, select.POLLIN | (select.POLLOUT if writing else 0))
        if first_byte_timeout is None or self._unsent or self._reader.first_byte_at:
            self._ready.poll()
            return
        left = self._sent_at + first_byte_timeout - _monotonic()
        if left <= 0:
            raise NoAnswer(FIRST_BYTE_TIMEOUT, f"no byte of an answer within {first_byte_timeout:g} s")
        self._ready.poll(left * 1000)

    def _cut(self, error: OSError | None) -> NoAnswer:
        because = "" if error is None else f": {error}"
        if self._reader.received:
            return NoAnswer(RESET, f"closed in the middle of the answer{because}")
        stale = self._reused and (error is None or isinstance(error, CLOSED_BY_PEER))
        return NoAnswer(RESET, f"closed before any byte of an answer{because}", stale=stale)
