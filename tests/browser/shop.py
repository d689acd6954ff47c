"""A whole run to look at: a queue that is filled all the time, a recipient with its share of failures, and Courier."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from courier.control_client import ask
from courier.local.exchange import Response
from tests.integration.sqs_endpoints import running_virtual_queue, sqs_client
from tests.process.test_api import ANY_PORT, Api
from tests.process.world import Courier, Delivery, Recipient, until

BUSY: Final = Response(503, body=b"the stock service is busy")
UNKNOWN: Final = Response(422, body=b"no such customer")
MAINTENANCE: Final = Response(503, body=b"down for maintenance")
OPTIONS: Final = (
    *("--api", ANY_PORT, "--failure-queue", "orders-dead", "--wait-time", "1"),
    # The tests stop the API for longer than the watchdog would wait for it.
    *("--hang-timeout", "120", "--audit-path", "audit"),
)


CONTROL: Final = "control.sock"
TOKEN: Final = "a-token-of-the-tests"
"""With which the page may act."""


class Shop:
    """The run. ``courier`` is the process, ``url`` the address of its page, ``control`` its control socket."""

    def __init__(self, courier: Courier, recipient: Recipient, control: Path) -> None:
        self.courier = courier
        self.control = control
        self.recipient = recipient
        self.url = Api(courier).url + "/"
        self.open()

    @classmethod
    @contextmanager
    def run(cls, directory: Path, *options: str, rate: float = 40.0, steered: bool = True) -> Iterator[Shop]:
        """Run it for the length of a ``with`` block, with so many messages a second.

        ``steered`` gives it a control socket, and lets the page act.
        """
        ended = threading.Event()
        recipient = Recipient()
        control = directory / CONTROL
        with running_virtual_queue() as endpoint, contextlib.ExitStack() as stack:
            stack.callback(recipient.stop)
            for name in ("orders", "orders-dead"):
                sqs_client(endpoint).create_queue(QueueName=name)
            feeder = threading.Thread(target=_feed, args=(endpoint, rate, ended), daemon=True)
            feeder.start()
            stack.callback(feeder.join, 10)
            stack.callback(ended.set)
            given = [*OPTIONS, *(_steered(directory) if steered else ()), *options]
            # In the directory, so that the page shows short paths.
            prefix = ["env", "-C", str(directory)]
            courier = Courier("orders", recipient.url, directory, *given, endpoint=endpoint, prefix=prefix)
            stack.callback(courier.kill)
            yield cls(courier.wait_ready(), recipient, control)
            assert "Traceback" not in courier.log()

    def open(self) -> None:
        """Let the recipient succeed, but for a few messages."""
        self.recipient.behave = _mostly

    def fail(self) -> None:
        """Let the recipient fail for every message, with a text."""
        self.recipient.behave = lambda _: MAINTENANCE

    def act(self, **fields: Any) -> None:
        """Do an act as a command of the command line does."""
        answer = ask(self.control, fields)
        assert answer["ok"], answer

    def delivered(self) -> int:
        """Return how many messages the recipient has accepted."""
        return sum(self.recipient.accepted.values())

    def wait_delivered(self, more: int = 10) -> None:
        """Wait until so many more messages are delivered."""
        goal = self.delivered() + more
        until(lambda: self.delivered() >= goal, explain=self.courier.log)


def _steered(directory: Path) -> list[str]:
    token = directory / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    return ["--control", CONTROL, "--page-control", token.name]


def _mostly(delivery: Delivery) -> Awaitable[Response]:
    """Fail for one message of 40 at its first attempt, and reject one of 60; some take much longer than most."""
    number = int(delivery.message_id.replace("-", ""), 16)
    seconds = 0.005 + 0.08 * (number // 2400 % 1000 / 1000) ** 6
    response = UNKNOWN if number % 60 == 7 else BUSY if number % 40 == 1 and delivery.number == 1 else Response(200)
    return _later(seconds, response)


async def _later(seconds: float, response: Response) -> Response:
    await asyncio.sleep(seconds)
    return response


def _feed(endpoint: str, rate: float, ended: threading.Event) -> None:
    """Send ten messages at a time."""
    sqs = sqs_client(endpoint)
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    entries = [{"Id": str(n), "MessageBody": f'{{"order": {n}}}'} for n in range(10)]
    while not ended.wait(10 / rate):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
