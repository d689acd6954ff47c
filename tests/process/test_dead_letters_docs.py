"""docs/dead-letters.md: every command of it is run, one after another on one Courier, and says what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from courier.local.exchange import Response
from tests.integration.sqs_endpoints import sqs_client
from tests.integration.test_virtual_queue_command import program
from tests.process.world import Courier, Delivery, Recipient, until

PAGE: Final = Path(__file__).parents[2] / "docs" / "dead-letters.md"
BLOCK: Final = re.compile(r"^```sh\n(.*?)^```\n```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUEUES: Final = ("orders", "orders-failed", "orders-again")

VARYING: Final = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}Z)?", "TIME"),
    (r"\d+ s old", "AGE old"),
    (r"(?<=ID  )\d+ s +(?=\d)", "AGE "),
    (r'(?<="CourierFailure":\{"type":"String","value":")(\{.*?\}|…)(?="\})', "REASON"),
)
"""What differs from run to run: ids, times, ages, and the attribute that has them."""


def shape(text: str) -> list[str]:
    """Return the lines of an output without what differs from run to run, sorted: SQS keeps no order."""
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return sorted(text.splitlines())


def judge(delivery: Delivery) -> Response:
    """Answer as the recipient of the page."""
    if b'"three"' in delivery.body:
        return Response(422, body=b"order is not a number")
    return Response(404, body=b"no such order")


@pytest.fixture
def endpoint() -> Iterator[str]:
    with program(*(f"--queue={name}" for name in QUEUES)) as running:
        yield running.endpoint


def waiting(endpoint: str, queue: str) -> int:
    """Return how many messages wait in a queue."""
    sqs = sqs_client(endpoint)
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def test_every_command_of_the_page_says_what_stands_below_it(
    endpoint: str, recipient: Recipient, tmp_path: Path
) -> None:
    text = PAGE.read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```sh\n") >= 6
    recipient.behave = judge
    # Nearly all messages of the page are refused, at which Courier would stop.
    options = ("--failure-queue", "orders-failed", "--reject-share", "0")
    courier = Courier("orders", recipient.url, tmp_path, *options, endpoint=endpoint)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COURIER_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "COLUMNS": "200",
    }
    try:
        for number, (command, output) in enumerate(blocks):
            ended = subprocess.run(
                ["bash", "-c", command],
                env=environment,
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )
            assert shape(ended.stdout) == shape(output), command
            if number == 0:
                until(lambda: waiting(endpoint, "orders-failed") == 3, explain=courier.log)
    finally:
        courier.kill()
