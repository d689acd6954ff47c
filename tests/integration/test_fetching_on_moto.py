"""Fetching and removing objects on moto's S3, which nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import boto3
import pytest

from courier.fetch.fetching import Fetching, FetchSettings
from courier.fetch.pointer import CLASSES, BucketPrefix
from courier.fetch.removal import Removal
from courier.fetch.s3_client import S3Settings
from courier.http.answer import Failure
from courier.http.file_body import FileBody
from courier.recipient.content import NO_OBJECT, S3_FAILS, TOO_LARGE
from courier.request.content import Content, Made, Pointer
from tests.unit.stage import message

pytestmark = pytest.mark.usefixtures("s3_keys")

KEYS = ("plain", "with/slashes and blanks", "é%2F+&?#=~", "/leading", "trailing/", "a//b", "x" * 1024)


@pytest.fixture
def bucket(moto_server: str) -> tuple[Any, str, str]:
    """Return a client, the endpoint, and a bucket in another region than the one that is asked."""
    client = boto3.client("s3", endpoint_url=moto_server, region_name="us-east-1")
    name = f"bodies-{os.getpid()}-{time.monotonic_ns()}"
    client.create_bucket(Bucket=name)
    return client, moto_server, name


async def fetched(settings: FetchSettings, bucket: str, key: str) -> Made:
    future: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
    step = Fetching(asyncio.get_running_loop(), settings)
    body = json.dumps([CLASSES[1], {"s3BucketName": bucket, "s3Key": key}]).encode()
    made = step(Content(message("a", body=body)), future.set_result)
    return made if isinstance(made, (Content, Failure)) else await asyncio.wait_for(future, 60)


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
async def test_objects_with_any_key_are_fetched_and_removed(bucket: tuple[Any, str, str], size: int) -> None:
    client, url, name = bucket
    settings = FetchSettings((BucketPrefix(name),), 5_000_000, 60.0, S3Settings("eu-west-1", url, 1))
    content = os.urandom(size)
    counted: list[tuple[int, int]] = []
    removal = Removal(S3Settings("eu-west-1", url), lambda *counts: counted.append(counts))
    for key in KEYS:
        client.put_object(Bucket=name, Key=key, Body=content)
        made = await fetched(settings, name, key)
        assert isinstance(made, Content), made
        body = made.body
        assert (b"".join(body.pieces()) if isinstance(body, FileBody) else body) == content
        removal.add(Pointer(name, key).pack())
    deadline = time.monotonic() + 60.0
    while not removal.is_idle:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    removal.close()
    assert tuple(map(sum, zip(*counted, strict=True))) == (len(KEYS), 0)
    assert client.list_objects_v2(Bucket=name)["KeyCount"] == 0


async def test_what_is_not_there_and_what_is_too_large_is_told_apart(bucket: tuple[Any, str, str]) -> None:
    client, url, name = bucket
    places = (BucketPrefix(name), BucketPrefix("no-such-bucket-of-ours"))
    settings = FetchSettings(places, 1000, 60.0, S3Settings("us-east-1", url, 1))
    client.put_object(Bucket=name, Key="large", Body=bytes(1001))
    reasons = {}
    for of, key in ((name, "large"), (name, "gone"), ("no-such-bucket-of-ours", "k")):
        made = await fetched(settings, of, key)
        assert isinstance(made, Failure)
        reasons[of, key] = made.reason
    assert list(reasons.values()) == [TOO_LARGE, NO_OBJECT, S3_FAILS]


def test_many_objects_are_removed_in_a_few_calls(bucket: tuple[Any, str, str]) -> None:
    client, url, name = bucket
    for n in range(120):
        client.put_object(Bucket=name, Key=f"k{n}", Body=b"x")
    removed: list[int] = []
    removal = Removal(S3Settings("us-east-1", url), lambda count, _: removed.append(count))
    for n in range(120):
        removal.add(Pointer(name, f"k{n}").pack())
    removal.hurry()
    deadline = time.monotonic() + 60.0
    while not removal.is_idle:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    removal.close()
    assert sum(removed) == 120
    assert len(removed) <= 3
