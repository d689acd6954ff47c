"""How many messages a queue holds, as read from answers of all kinds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from courier.errors import SqsError
from courier.http.url_parsing import read_url
from courier.local.exchange import Request, Response
from courier.sqs.client import DEPTH_ATTRIBUTES, MOST_MESSAGES, SqsClient
from courier.sqs.credentials import LOCAL_KEYS, CredentialSource, local_keys
from courier.sqs.queue import QueueInfo
from tests.threaded_server import ThreadedServer


async def depth_in(body: bytes) -> Any:
    """Return the depth that a client reads from an answer, or the code of its error."""

    def answer(_: Request) -> Response:
        return Response(200, [], body)

    server = ThreadedServer(answer)
    queue = QueueInfo(f"{server.url}/1/orders", "orders", "us-east-1", read_url(server.url), False, 30)
    source = CredentialSource(local_keys, "us-east-1", at_hand=LOCAL_KEYS)
    client = SqsClient(asyncio.get_running_loop(), queue, source)
    try:
        return await client.depth()
    except SqsError as error:
        return error.code
    finally:
        client.close()
        source.close()
        server.stop()


def attributes(*values: object) -> bytes:
    return json.dumps({"Attributes": dict(zip(DEPTH_ATTRIBUTES, values, strict=False))}).encode()


async def test_numbers_come_as_texts() -> None:
    assert await depth_in(attributes("5", "0", "12")) == (5, 0, 12)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"Attributes": null}',
        b'{"Attributes": []}',
        attributes("5", "0"),
        attributes("5", "0", "many"),
        attributes("5", "0", None),
        attributes("5", "0", []),
        attributes("5", "0", "-1"),
        attributes("5", "0", str(MOST_MESSAGES + 1)),
        attributes("5", "0", "9" * 5000),
        attributes("5", "0", 1e400),
    ],
)
async def test_an_answer_that_sqs_does_not_make_is_an_error_like_any_other(body: bytes) -> None:
    assert await depth_in(body) == "unreadable answer"
