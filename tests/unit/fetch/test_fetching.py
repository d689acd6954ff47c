"""The step that fetches bodies, with an S3 that never answers."""

from __future__ import annotations

import asyncio
import json
import threading
from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError

from courier.fetch import breaker
from courier.fetch import fetching as module
from courier.fetch.breaker import THRESHOLD
from courier.fetch.fetching import Fetching, FetchSettings
from courier.fetch.pointer import CLASSES, BucketPrefix
from courier.fetch.s3_client import S3Settings
from courier.http.answer import Failure
from courier.recipient.content import S3_FAILS
from courier.request.content import Content, Made
from tests.unit.stage import message
from tests.waiting import until


class Meta:
    endpoint_url = "http://s3.test"


class Answering:
    """A client that gives one answer, or one error."""

    meta = Meta

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get_object(self, **_: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def made_of(step: Fetching, content: Content) -> Made:
    ended: list[Made] = []
    made = step(content, ended.append)
    if isinstance(made, Failure | Content):
        return made
    await until(lambda: ended)
    return ended[0]


async def test_an_object_without_its_length_is_fetched_later() -> None:
    """A store of somebody else may answer so, in chunks."""
    client = Answering({"Body": BytesIO(b"body")})
    settings = FetchSettings((BucketPrefix("bucket"),), 1 << 20, 5.0, S3Settings("eu-west-1", None, 1))
    step = Fetching(asyncio.get_running_loop(), settings, connect=lambda _: client)
    made = await made_of(step, pointer_to("bucket"))
    assert isinstance(made, Failure)
    assert made.reason == S3_FAILS


async def test_an_archived_object_that_ends_an_outage_as_a_probe_lets_all_others_be_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_SECONDS", 0.0)
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")
    archived = ClientError({"Error": {"Code": "InvalidObjectState"}}, "GetObject")
    client = Answering(denied)
    settings = FetchSettings((BucketPrefix("bucket"),), 1 << 20, 3600.0, S3Settings("eu-west-1", None, 1))
    step = Fetching(asyncio.get_running_loop(), settings, connect=lambda _: client)
    for _ in range(THRESHOLD):
        await made_of(step, pointer_to("bucket"))
    client.answer = archived
    await made_of(step, pointer_to("bucket"))
    client.answer = {"Body": BytesIO(b"body"), "ContentLength": 4}
    made = await made_of(step, pointer_to("bucket"))
    assert isinstance(made, Content)
    assert made.message.body == b"body"


class SilentS3:
    """A client whose calls end when the test does."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def get_object(self, **_: str) -> Any:
        self.released.wait(60)
        raise OSError("released")


def pointer_to(bucket: str) -> Content:
    body = json.dumps([CLASSES[0], {"s3BucketName": bucket, "s3Key": "k"}])
    return Content(message(bucket, body=body.encode()))


async def test_fetches_are_given_up_in_turn_though_each_frees_a_slot_for_a_pointer_to_another_bucket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    s3 = SilentS3()
    places = tuple(BucketPrefix(f"bucket-{n}") for n in range(20))
    settings = FetchSettings(places, 1 << 20, 0.05, S3Settings("eu-west-1", None, 20))
    step = Fetching(asyncio.get_running_loop(), settings, connect=lambda _: s3)
    ended: list[Made] = []

    def begin(number: int) -> None:
        def done(made: Made) -> None:
            ended.append(made)
            if number + 2 < len(places):
                begin(number + 2)

        step(pointer_to(places[number].bucket), done)

    begin(0)
    begin(1)
    await until(lambda: len(ended) == len(places))
    s3.released.set()
    assert not raised
    assert {made.reason for made in ended if isinstance(made, Failure)} == {S3_FAILS}
