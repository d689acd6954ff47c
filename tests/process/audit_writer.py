"""A program that writes an audit directory as the auditor does, at a steady rate, and shows how far it is.

``python -m tests.process.audit_writer DIRECTORY COUNTER RATE``: the first 8 bytes of COUNTER are the number of durable
records. It ends, and closes the log, when its stdin does.
"""

from __future__ import annotations

import mmap
import select
import sys
import time
from pathlib import Path
from typing import Any, Final

from courier.audit.record import Rejection, record_line
from courier.config.config import Config
from courier.http.url_parsing import read_url
from courier.message import Message
from courier.process.scoreboard import Scoreboard
from courier.sqs.queue import QueueInfo
from courier.wiring.audit import open_audit_log

BATCH: Final = 100
GROUPS: Final = 10
REJECTS: Final = 50
"""One of so many messages is a rejected one."""

OPTIONS: Final[dict[str, Any]] = {"audit_max_bytes": 1_000_000}


def name_of(number: int) -> str:
    return f"m{number:09d}"


def record(number: int, now: float) -> bytes:
    """Return the record of a message."""
    group, body = f"g{number % GROUPS}", b"order %d of nobody in particular" % number
    message = Message(name_of(number), "", 0.0, 0.0, 1, int(now * 1000), 0, "", group, "", (), body)
    if number % REJECTS == 0:
        return record_line(message, "rejected: status 422", 422, 0.01, now, Rejection("status 422", "orders", "no"))
    return record_line(message, "delivered", 200, 0.01, now)


def write(directory: Path, counter: Path, rate: int) -> None:
    """Write until stdin ends."""
    config = Config(queue="orders", recipient_url="http://127.0.0.1:1/", audit_path=directory, **OPTIONS)
    slot = Scoreboard.create({"auditor": 1}).slots("auditor")[0]
    endpoint = read_url("http://127.0.0.1:1")
    queue = QueueInfo("http://127.0.0.1:1/0/orders", "orders", "us-east-1", endpoint, fifo=False, visibility_timeout=30)
    log = open_audit_log(config, queue, slot)
    assert log is not None
    with counter.open("r+b") as file:
        durable = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    began, number = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], max(0.0, began + number / rate - time.monotonic()))[0]:
        now = time.time()
        log.append([record(each, now) for each in range(number, number + BATCH)])
        number += BATCH
        durable[0] = number
    log.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
