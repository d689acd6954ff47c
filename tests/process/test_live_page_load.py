"""Many pages, streams and a reader that never reads: the API stays small and answers, and deliveries go on."""

from __future__ import annotations

import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from courier.api.events import MOST_STREAMS
from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT, Api
from tests.process.test_api_door import check, resident
from tests.process.world import Queue, Recipient, after, bodies, until

MOST_GROWTH: Final = 15 * 2**20
PAGES: Final = 200
EVENTS: Final = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def test_200_pages_16_streams_and_a_stalled_reader_disturb_nobody(
    start: Start, queue: Queue, recipient: Recipient
) -> None:
    recipient.behave = after(0.01)
    courier = start(queue, "--api", ANY_PORT, "--senders", "2")
    url = Api(courier).url
    address = str(urlsplit(url).hostname), int(urlsplit(url).port or 0)
    (pid,) = courier.pids("api")

    def page() -> int:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return len(answer.read())

    def stream(*, reads: bool) -> socket.socket:
        client = socket.socket()
        if not reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(30)
        client.connect(address)
        client.sendall(EVENTS)
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        return client

    def read(client: socket.socket) -> None:
        while not ended.is_set():
            events.append(client.recv(65_536).count(b"event: status"))

    events: list[int] = []
    ended = threading.Event()
    # What the first requests need stays: the memory of the routes, of the page and of an answer.
    size = page()
    check(address)
    before = resident(pid)
    clients = [stream(reads=number > 0) for number in range(MOST_STREAMS)]
    readers = [threading.Thread(target=read, args=(client,), daemon=True) for client in clients[1:]]
    for reader in readers:
        reader.start()
    ids = queue.send(bodies(300))
    with ThreadPoolExecutor(8) as asking:
        pages = [asking.submit(page) for _ in range(PAGES)]
        # A noisy machine may make one late, but nobody refuses it.
        assert sorted(check(address) for _ in range(24))[20] < 3.0
        assert {each.result() for each in pages} == {size}
    until(lambda: recipient.accepted.keys() >= set(ids), explain=courier.log)
    assert recipient.duplicates() == {}
    # Each reader has had its share meanwhile.
    until(lambda: sum(events) >= 2 * len(readers), explain=courier.log)
    assert resident(pid) - before <= MOST_GROWTH
    assert Api(courier).get("/events")[0] == 503
    ended.set()
    for reader in readers:
        reader.join(30)
    for client in clients:
        client.close()
    assert courier.drain() == 0
