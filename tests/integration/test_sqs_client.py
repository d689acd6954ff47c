"""The SQS client's contract, held by the virtual queue and by moto alike."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from courier.errors import CannotStart, SqsError
from courier.http.url_parsing import read_url
from courier.message import Attribute, Message
from courier.sqs.client import Outgoing, SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from tests.integration.sqs_endpoints import REGION, create_queue, queue_arn, sqs_client, unique_name
from tests.unit.sqs.aws_environment import no_aws, static_keys

__all__ = ["no_aws", "static_keys"]

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793"


@pytest.fixture(params=["virtual_queue", "moto_server"])
def endpoint(request: pytest.FixtureRequest, static_keys: None) -> str:
    return str(request.getfixturevalue(request.param))


@asynccontextmanager
async def client_of(endpoint: str, queue_url: str = "") -> AsyncIterator[SqsClient]:
    """Make a client of a queue, of a new one where none is given."""
    aws = aws_configuration(os.environ)
    queue = await asyncio.to_thread(resolve_queue, aws, queue_url or create_queue(endpoint), REGION, endpoint)
    source = CredentialSource(aws.find_keys, queue.region)
    client = SqsClient(asyncio.get_running_loop(), queue, source)
    try:
        async with asyncio.timeout(60):
            yield client
    finally:
        client.close()
        source.close()


async def receive_all(client: SqsClient, count: int, visibility: int = 60) -> list[Message]:
    """Receive until so many messages are there: one call may bring fewer than there are."""
    deadline = time.monotonic() + 30
    messages: list[Message] = []
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} messages came"
        received = await client.receive(min(10, count - len(messages)), 1, visibility)
        assert received.corrupt == 0
        messages += received.messages
    return messages


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_what_is_sent_comes_back_as_it_was(endpoint: str) -> None:
    sent = [
        Outgoing('grüße 💩 "quoted" \\ \n\ttabbed'.encode()),
        Outgoing(b"x" * 200_000),
        Outgoing(
            b'{"order":7}',
            (
                Attribute("zone", "Number", "-1.5"),
                Attribute("Kind", "String.custom", "ördér"),
                Attribute("icon", "Binary.png", "AAEC/w=="),
            ),
        ),
    ]

    before = time.time()
    async with client_of(endpoint) as client:
        assert await client.send(sent) == [None, None, None]
        messages = await receive_all(client, 3)
    assert sorted(m.body for m in messages) == sorted(m.body for m in sent)
    (full,) = [m for m in messages if m.body == b'{"order":7}']
    assert full.attributes == tuple(sorted(sent[2].attributes))
    for message in messages:
        assert message.receive_count == 1
        assert abs(message.sent_ms / 1000 - before) < 60
        assert abs(message.first_received_ms / 1000 - before) < 60
        assert message.sender_id
        assert len({message.message_id, message.receipt}) == 2


async def test_a_trace_that_is_sent_comes_back(virtual_queue: str, static_keys: None) -> None:
    # Not on moto, whose SendMessageBatch leaves system attributes out.
    async with client_of(virtual_queue) as client:
        assert await client.send([Outgoing(b"x", trace=TRACE)]) == [None]
        assert [m.trace for m in await receive_all(client, 1)] == [TRACE]


async def test_the_lease_ends_before_sqs_shows_the_message_again(endpoint: str) -> None:
    async with client_of(endpoint) as client:
        await client.send([Outgoing(b"x")])
        before = boottime()
        (message,) = await receive_all(client, 1, visibility=30)
        assert before <= message.received_at <= boottime()
        assert message.lease == message.received_at + 29


async def test_a_released_message_comes_again_with_its_receive_counted(endpoint: str) -> None:
    async with client_of(endpoint) as client:
        await client.send([Outgoing(b"x")])
        (first,) = await receive_all(client, 1)
        assert await client.change_visibility([(first.receipt, 0)]) == [None]
        (second,) = await receive_all(client, 1)
    assert second.message_id == first.message_id
    assert (first.receive_count, second.receive_count) == (1, 2)
    assert second.first_received_ms == first.first_received_ms


async def test_a_deleted_message_is_gone_and_a_failed_entry_says_so_at_its_place(endpoint: str) -> None:
    queue_url = create_queue(endpoint)
    async with client_of(endpoint, queue_url) as client:
        await client.send([Outgoing(b"a"), Outgoing(b"b")])
        a, b = await receive_all(client, 2)
        first, wrong, last = await client.delete([a.receipt, "not-a-receipt", b.receipt])
        assert (first, last) == (None, None)
        assert wrong is not None
        assert wrong.code == "ReceiptHandleIsInvalid"
    counted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs_client(endpoint).get_queue_attributes(QueueUrl=queue_url, AttributeNames=counted)["Attributes"]
    assert set(left.values()) == {"0"}


async def test_a_change_of_visibility_fails_for_the_entry_that_names_no_message_alone(endpoint: str) -> None:
    async with client_of(endpoint) as client:
        await client.send([Outgoing(b"a")])
        (message,) = await receive_all(client, 1)
        wrong, right = await client.change_visibility([("not-a-receipt", 0), (message.receipt, 0)])
        assert right is None
        assert wrong is not None
        assert wrong.code == "ReceiptHandleIsInvalid"


async def test_an_extended_message_stays_hidden(endpoint: str) -> None:
    async with client_of(endpoint) as client:
        await client.send([Outgoing(b"a")])
        (message,) = await receive_all(client, 1, visibility=1)
        assert await client.change_visibility([(message.receipt, 60)]) == [None]
        assert await client.receive(10, 2, 60) == ([], 0, [])


async def test_an_empty_queue_answers_a_poll_with_nothing(endpoint: str) -> None:
    async with client_of(endpoint) as client:
        assert await client.receive(10, 1, 30) == ([], 0, [])


async def test_a_long_poll_ends_when_a_message_comes(endpoint: str) -> None:
    async with client_of(endpoint) as client:
        poll = asyncio.create_task(client.receive(10, 20, 30))
        await asyncio.sleep(0)
        await client.send([Outgoing(b"x")])
        assert [m.body for m in (await asyncio.wait_for(poll, 15)).messages] == [b"x"]


async def test_the_messages_of_a_fifo_group_come_in_order_with_their_group(endpoint: str) -> None:
    sent = [Outgoing(str(n).encode(), group="customer-1", deduplication_id=str(n)) for n in range(5)]
    async with client_of(endpoint, create_queue(endpoint, fifo=True)) as client:
        assert await client.send(sent) == [None] * 5
        messages = (await client.receive(10, 5, 30, attempt_id="attempt-1")).messages
    assert [m.body for m in messages] == [b"0", b"1", b"2", b"3", b"4"]
    assert {m.group for m in messages} == {"customer-1"}


async def test_a_queue_that_was_deleted_is_an_error_that_is_not_repeated(endpoint: str) -> None:
    queue_url = create_queue(endpoint)
    async with client_of(endpoint, queue_url) as client:
        sqs_client(endpoint).delete_queue(QueueUrl=queue_url)
        with pytest.raises(SqsError) as caught:
            await client.receive(10, 0, 30)
    error = caught.value
    assert (error.code, error.retriable) == ("QueueDoesNotExist", False)
    assert REGION in str(error)


def test_a_queue_is_resolved_by_name_and_by_url(endpoint: str) -> None:
    dead = create_queue(endpoint)
    dead_arn = queue_arn(endpoint, dead)
    policy = f'{{"deadLetterTargetArn":"{dead_arn}","maxReceiveCount":"4"}}'
    url = create_queue(endpoint, {"VisibilityTimeout": "77", "RedrivePolicy": policy})
    by_url = resolve_queue(aws_configuration(os.environ), url, REGION, endpoint)
    assert by_url == resolve_queue(aws_configuration(os.environ), by_url.name, REGION, endpoint)
    assert (by_url.url, by_url.visibility_timeout, by_url.fifo) == (url, 77, False)
    assert (by_url.max_receive_count, by_url.dead_letter) == (4, dead_arn)
    assert by_url.endpoint == read_url(endpoint)
    assert resolve_queue(aws_configuration(os.environ), create_queue(endpoint, fifo=True), REGION, endpoint).fifo


@pytest.mark.parametrize("action", ["GetQueueUrl", "GetQueueAttributes"])
def test_a_queue_that_does_not_exist_is_said_in_one_line(endpoint: str, action: str) -> None:
    name = unique_name()
    queue = name if action == "GetQueueUrl" else f"{endpoint}/000000000000/{name}"
    with pytest.raises(CannotStart) as caught:
        resolve_queue(aws_configuration(os.environ), queue, REGION, endpoint)
    for part in [name, action, REGION, "the queue does not exist"]:
        assert part in str(caught.value)


async def test_a_client_says_how_much_its_queue_and_another_one_holds(endpoint: str) -> None:
    other = create_queue(endpoint)
    sqs = sqs_client(endpoint)
    for delay in (0, 0, 900):
        await asyncio.to_thread(sqs.send_message, QueueUrl=other, MessageBody="a", DelaySeconds=delay)
    await asyncio.to_thread(sqs.receive_message, QueueUrl=other, VisibilityTimeout=60)
    *_, account, name = queue_arn(endpoint, other).split(":")
    async with client_of(endpoint) as client:
        assert await client.depth() == (0, 0, 0)
        url = await client.queue_url(name, account)
        assert await client.depth(url) == (1, 1, 1)
        with pytest.raises(SqsError) as caught:
            await client.queue_url(unique_name(), account)
    assert "NonExistentQueue" in caught.value.code or "QueueDoesNotExist" in caught.value.code
