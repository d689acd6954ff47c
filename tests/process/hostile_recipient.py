"""A recipient that means harm: the body of a message names what is done to it, until the recipient calms down."""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tests.integration.misbehaving_server import OK, MisbehavingServer, Peer

TIMEOUT: Final = 2.0
"""The ``--timeout`` that an attempt gets."""

LONGEST: Final = TIMEOUT + 1.0
"""Seconds after which an attempt has outlasted its deadline, and the second that it may take beyond."""

PIECE: Final = bytes(65536)
GIBIBYTE: Final = 1 << 30
PACKED: Final = gzip.compress(bytes(60 << 20))
"""It stays below what is read of an answer, and would take a thousand times as much memory."""


REDIRECTED: Final = "/redirected"


class Attempt:
    """One request, as the server sees it from the moment at which it has all of it."""

    def __init__(self, peer: Peer, elsewhere: str) -> None:
        self.peer = peer
        self.elsewhere = elsewhere
        self.sent = 0
        self.outlasted = False
        self._until = time.monotonic() + LONGEST

    def send(self, data: bytes) -> None:
        """Send bytes; Gone where the client has closed."""
        self.peer.send(data)
        self.sent += len(data)

    def keep_sending(self, data: bytes, every: float = 0.0) -> None:
        """Send the same bytes, up to a gibibyte, until the client has closed."""
        while self.sent < GIBIBYTE and (left := self._until - time.monotonic()) > 0:
            if every and self.peer.closes_within(min(every, left)):
                return
            self.send(data)
        self.wait()

    def wait(self) -> None:
        """Wait until the client closes, and note where it doesn't in time."""
        self.outlasted = not self.peer.closes_within(self._until - time.monotonic())


def redirect(status: int) -> Callable[[Attempt], None]:
    def answer(attempt: Attempt) -> None:
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {attempt.elsewhere}\r\nContent-Length: 0\r\n\r\n"
        attempt.send(head.encode())

    return answer


def endless_success(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIBIBYTE)
    attempt.keep_sending(PIECE)


def endless_failure(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 500 No\r\n\r\n")
    attempt.keep_sending(PIECE)


def a_byte_now_and_then(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    attempt.keep_sending(b"x", every=TIMEOUT / 5)


def a_byte_every_ten_seconds(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx")
    attempt.keep_sending(b"x", every=10.0)


def a_byte_after_the_deadline(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
    attempt.wait()
    attempt.send(b"x")


def late(attempt: Attempt) -> None:
    attempt.wait()
    attempt.send(OK * 10)


def reset_in_mid_answer(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
    attempt.peer.reset()


def end_in_mid_answer(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    attempt.peer.close()


def garbage(attempt: Attempt) -> None:
    attempt.send(b"\x00\x01\xff\xfe 200 OK\r\n\r\n" * 100)
    attempt.wait()


def one_long_header(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\nX: ")
    attempt.keep_sending(b"x" * 65536)


def headers_without_end(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 200 OK\r\n")
    attempt.keep_sending(b"X: y\r\n" * 10_000)


def interim_answers_without_end(attempt: Attempt) -> None:
    attempt.keep_sending(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1_000)


def packed(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED)


def retry_after_a_day(attempt: Attempt) -> None:
    attempt.send(b"HTTP/1.1 503 No\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n")


HOSTILITIES: Final[dict[str, Callable[[Attempt], None]]] = {
    "301": redirect(301),
    "302": redirect(302),
    "307": redirect(307),
    "endless failure": endless_failure,
    "a byte now and then": a_byte_now_and_then,
    "a byte every ten seconds": a_byte_every_ten_seconds,
    "a byte after the deadline": a_byte_after_the_deadline,
    "late": late,
    "reset in mid-answer": reset_in_mid_answer,
    "end in mid-answer": end_in_mid_answer,
    "garbage": garbage,
    "one long header": one_long_header,
    "headers without end": headers_without_end,
    "interim answers without end": interim_answers_without_end,
    "packed": packed,
}
"""What must never pass for success."""

ENDLESS_SUCCESS: Final = "endless success"
"""What is one, with more of an answer than anybody wants."""

RETRY_AFTER: Final = "retry after a day"
"""What is honoured, as far as SQS can hide a message."""

_BEHAVIOURS: Final = HOSTILITIES | {ENDLESS_SUCCESS: endless_success, RETRY_AFTER: retry_after_a_day}
_KEEPING: Final = {"301", "302", "307", "packed", RETRY_AFTER}
"""After these the connection stays."""


class HostileRecipient:
    """The recipient on a free loopback port, for the length of a ``with`` block.

    ``attempts`` counts the requests by message id, ``outlasted`` names what kept an attempt alive for too long,
    ``most_sent`` is how many bytes of one answer the client took at most, its kernel's buffers included.
    """

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.outlasted: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.most_sent = 0
        self._calm = threading.Event()
        self.redirected: list[bytes] = []
        """The heads of requests that followed a redirect, by their path: a stray client may find the port, too."""
        self._elsewhere = MisbehavingServer(self._answer_all)
        self._server = MisbehavingServer(self._serve)

    @property
    def url(self) -> str:
        return self._server.url

    def calm_down(self) -> None:
        """Answer 200 to everything from now on."""
        self._calm.set()

    def __enter__(self) -> Self:
        self._elsewhere.__enter__()
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)
        self._elsewhere.__exit__(kind, error, trace)

    def _answer_all(self, peer: Peer) -> None:
        while True:
            head = peer.read_head()  # a redirect that is followed by GET has no length
            if REDIRECTED.encode() in head:
                self.redirected.append(head)
            peer.send(OK)

    def _serve(self, peer: Peer) -> None:
        while True:
            try:
                request = peer.read_request()
            except TimeoutError:
                return  # a connection that nobody has needed for a while
            name = next(line for line in request.head.split(b"\r\n") if line.lower().startswith(b"x-aws-sqsd-msgid"))
            self.attempts[name.partition(b": ")[2].decode()] += 1
            kind = request.body.decode()
            if self._calm.is_set():
                peer.send(OK)
                continue
            attempt = Attempt(peer, f"{self._elsewhere.url}{REDIRECTED}")
            try:
                _BEHAVIOURS[kind](attempt)
            finally:
                self.most_sent = max(self.most_sent, attempt.sent)
                self.outlasted[kind] += attempt.outlasted
                self.served[kind] += 1
            if kind not in _KEEPING:
                return
