"""A bug that every message meets: it is logged, shown as not ready, and over as soon as messages go through."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, bodies, missing, until

BUG = """
import os

from courier.request.head import DeliveryHead

sound = DeliveryHead.render


def render(self, message):
    if os.path.exists({path!r}):
        raise ZeroDivisionError("a bug")
    return sound(self, message)


DeliveryHead.render = render
"""
"""Python runs it at the start of each process."""


def readiness(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status/ready", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_bug_that_every_message_meets_is_logged_and_shown_until_messages_go_through(
    queue: Queue, recipient: Recipient, start: Start, tmp_path: Path, free_port: int
) -> None:
    broken = tmp_path / "broken"
    (tmp_path / "sitecustomize.py").write_text(BUG.format(path=str(broken)))
    courier = start(
        queue,
        *("--api", f"127.0.0.1:{free_port}", "--retry-delay", "1", "--wait-time", "1"),
        PYTHONPATH=str(tmp_path),
    )
    broken.touch()
    sent = queue.send(bodies(200))
    until(lambda: readiness(free_port)[0] == 503, 20, courier.log)
    status, told = readiness(free_port)
    assert status == 503
    assert [reason.partition(":")[0] for reason in told["reasons"]] == ["internal errors"]
    assert "traceback" in told["advice"][0]
    until(lambda: "a bug in Courier affects most messages" in courier.log(), 20, courier.log)
    broken.unlink()
    until(lambda: not missing(sent, recipient.accepted), 30, courier.log)
    until(lambda: readiness(free_port)[0] == 200, 20, lambda: (readiness(free_port), courier.log()))
    assert courier.drain() == 0
    lines = courier.log().splitlines()
    # One in each sender, and one with the count at its end.
    assert 1 <= sum("a bug in Courier affects one message" in line for line in lines) <= 2 * 4
