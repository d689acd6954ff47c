"""The gate's connections to servers of other habits than those of the virtual queue."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from scripts.faults.gate import Gate
from tests.integration.sqs_endpoints import sqs_client

QUEUE = "http://sqs/1/queue"
MD5_OF_BODY = hashlib.md5(b"b").hexdigest().encode()
MESSAGES = b'{"Messages":[{"MessageId":"m","ReceiptHandle":"r","Body":"b","MD5OfBody":"%b"}]}' % MD5_OF_BODY

Habit = Callable[[socket.socket], None]


class Server:
    """A server whose connections each follow the next of its habits."""

    def __init__(self, *habits: Habit) -> None:
        self.served = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, args=(habits,), daemon=True)
        self._thread.start()

    def _serve(self, habits: tuple[Habit, ...]) -> None:
        for habit in habits:
            connection, _ = self._listening.accept()
            self.served += 1
            with connection:
                habit(connection)
        self._listening.close()


def read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request or not request.endswith(b"}"):
        data = connection.recv(65536)
        if not data:
            break
        request += data
    return request


def keep_alive(connection: socket.socket) -> None:
    while read_request(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(MESSAGES), MESSAGES))


def once(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(MESSAGES), MESSAGES))
    read_request(connection)  # the next request is left without an answer


def without_length(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + MESSAGES)


def chunked(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(MESSAGES), MESSAGES))
    read_request(connection)


def no_http(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"220 smtp\r\n")
    read_request(connection)


@pytest.fixture
def gates() -> Iterator[list[Gate]]:
    made: list[Gate] = []
    yield made
    for gate in made:
        gate.close()
        assert gate.errors == []


@pytest.mark.parametrize(
    ("habits", "calls"),
    [([keep_alive], 3), ([once, keep_alive], 2), ([without_length] * 2, 2), ([chunked], 1)],
    ids=["kept", "closed while idle", "without length", "chunked"],
)
def test_each_answer_reaches_the_client(gates: list[Gate], habits: list[Habit], calls: int) -> None:
    server = Server(*habits)
    gate = Gate(server.url, lambda ids: ids)
    gates.append(gate)
    client = sqs_client(gate.url)
    for _ in range(calls):
        assert client.receive_message(QueueUrl=QUEUE)["Messages"][0]["Body"] == "b"
    assert len(gate.received) == calls
    assert server.served == len(habits)
    assert len(gate.clients) == 1


def test_what_is_no_http_resets_the_client(gates: list[Gate]) -> None:
    gate = Gate(Server(no_http).url, lambda ids: ids)
    gates.append(gate)
    with pytest.raises(Exception, match="Connection"):
        sqs_client(gate.url).receive_message(QueueUrl=QUEUE)
