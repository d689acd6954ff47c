"""A scan of a real queue, of the virtual one and of moto's alike."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from courier.dlq.scan import Scan, letter_of
from courier.dlq.session import Session, find_queue, run_session
from courier.message import Message
from tests.integration.sqs_endpoints import REGION, create_queue, queue_arn, redrive_policy, sqs_client
from tests.unit.sqs.aws_environment import no_aws, static_keys

__all__ = ["no_aws", "static_keys"]


@pytest.fixture(params=["virtual_queue", "moto_server"])
def endpoint(request: pytest.FixtureRequest, static_keys: Path) -> str:
    return str(request.getfixturevalue(request.param))


def test_a_scan_sees_each_message_once_and_leaves_them_as_they_were(endpoint: str) -> None:
    url = create_queue(endpoint)
    sqs = sqs_client(endpoint)
    for start in range(0, 30, 10):
        sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": f"body {n}"} for n in range(start, start + 10)]
        )
    queue = find_queue(url, REGION, endpoint, "--queue")
    bodies: list[str] = []

    async def act(session: Session) -> None:
        async with Scan(session.client(queue), visibility=2) as scan:

            async def handle(messages: list[Message]) -> None:
                bodies.extend(m.body.decode() for m in messages)
                # Longer than they are hidden at first.
                await asyncio.sleep(3)
                if wanted := [m for m in messages if m.body == b"body 7"]:
                    assert await scan.delete(wanted) == [None]

            await scan.each(handle, receivers=2)
            assert scan.held == 29

    run_session(act)
    assert sorted(bodies) == sorted(f"body {n}" for n in range(30))
    left: list[dict[str, str]] = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
        left += found
    assert sorted(each["Body"] for each in left) == sorted(f"body {n}" for n in range(30) if n != 7)


def test_a_dead_letter_names_the_queue_that_a_redrive_policy_took_it_from(endpoint: str) -> None:
    sqs = sqs_client(endpoint)
    dead = create_queue(endpoint, stem="dead")
    source = create_queue(endpoint, {"RedrivePolicy": redrive_policy(endpoint, dead, 1), "VisibilityTimeout": "0"})
    message_id = sqs.send_message(QueueUrl=source, MessageBody="poison")["MessageId"]
    for _ in range(2):
        sqs.receive_message(QueueUrl=source)
    queue = find_queue(dead, REGION, endpoint, "--queue")
    found: list[tuple[str, str]] = []

    async def act(session: Session) -> None:
        async with Scan(session.client(queue)) as scan:

            async def handle(messages: list[Message]) -> None:
                found.extend((m.message_id, letter_of(m).source_arn) for m in messages)

            await scan.each(handle)

    run_session(act)
    # Some emulators don't say where a message came from.
    assert found in ([(message_id, queue_arn(endpoint, source))], [(message_id, "")])
