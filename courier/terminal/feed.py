"""The news of a running Courier, fetched in a thread, so that a silent program doesn't stop the keys of the user."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple

from courier.errors import CourierError
from courier.terminal.api_client import QUEUES_PATH, Address, Answer, Unreachable, get
from courier.terminal.report import Report

STATUS_PATH: Final = "/status"
SAMPLES_PATH: Final = "/status/samples"


class News(NamedTuple):
    """An answer of /status, or why there is none. ``samples`` comes with the first answer, and with each after a gap.

    ``at`` is in monotonic seconds.
    """

    at: float
    report: Report | None
    error: str = ""
    samples: Report | None = None


def ask(address: Address, *, with_samples: bool, request: Callable[[Address, str], Answer] = get) -> News:
    """Ask for the news once; it takes a few seconds at most."""
    try:
        report = status_of(address, request(address, STATUS_PATH))
        samples = None
        if with_samples:
            answer = request(address, SAMPLES_PATH)
            # An older Courier has none, and answers 404.
            samples = Report.parse(answer.body) if answer.status == 200 else None
        return News(time.monotonic(), report, "", samples)
    except CourierError as error:
        return News(time.monotonic(), None, str(error))


def status_of(address: Address, answer: Answer) -> Report:
    """Return what /status says; raise Unreachable if something else answered."""
    report = Report.parse(answer.body) if answer.status == 200 else None
    if report is None or not report.text("state"):
        raise not_courier(address, answer.status)
    return report


def not_courier(address: Address, status: int) -> Unreachable:
    """Return the error for an answer of another program, or of a Courier that has no queue of that name."""
    if status == HTTPStatus.NOT_FOUND and QUEUES_PATH in address.path:
        return Unreachable(f"{address.url}: there is no such queue (status 404); `courier status` lists the queues")
    advice = "give the address of Courier's --api with --url"
    return Unreachable(f"{address.url}: what answers there is not Courier (status {status}); {advice}")


class Feed:
    """Asks again and again in a thread, which ends with the process. :meth:`fileno` is readable when there is news."""

    def __init__(self, address: Address, interval: float) -> None:
        """Begin at once, and ask every ``interval`` seconds, or as fast as the answers come."""
        self._address = address
        self._interval = interval
        self._news: deque[News] = deque(maxlen=8)
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        threading.Thread(target=self._run, daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._reading

    def take(self) -> list[News]:
        """Return what came since the last call, the newest last."""
        os.read(self._reading, 4096)
        taken = []
        while self._news:
            taken.append(self._news.popleft())
        return taken

    def _run(self) -> None:
        is_known = False
        while True:
            began = time.monotonic()
            news = ask(self._address, with_samples=not is_known)
            is_known = news.report is not None
            self._news.append(news)
            # A full pipe says already that there is news.
            with contextlib.suppress(BlockingIOError):
                os.write(self._writing, b"n")
            time.sleep(max(0.0, began + self._interval - time.monotonic()))
