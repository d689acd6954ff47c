"""Streams for tests of the Firehose audit log, and logs opened on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import boto3
import pytest

from courier.audit.firehose import CALLING, FirehoseLog, RetryBudget
from courier.audit.firehose_stream import Calling
from courier.audit.stream import Stream
from courier.errors import AuditError
from courier.recipient.policy import Backoff
from scripts.faults.firehose_server import Firehose
from tests.integration.sqs_endpoints import CREDENTIALS, REGION, unique_name

LONG = RetryBudget(60.0, Backoff(0.001, 0.01))
SHORT = RetryBudget(0.3, Backoff(0.001, 0.01))


class Place(NamedTuple):
    """A stream somewhere, and what is in it, as the bytes one after another."""

    stream: Stream
    content: Callable[[], bytes]


@pytest.fixture
def server() -> Iterator[Firehose]:
    running = Firehose()
    yield running
    running.stop()


@pytest.fixture(params=["moto", "ours"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "ours":
        ours: Firehose = request.getfixturevalue("server")
        return Place(Stream("audit", REGION, ours.url), lambda: b"".join(ours.stored))
    return moto_stream(request.getfixturevalue("moto_server"))


def moto_stream(endpoint: str) -> Place:
    """Make a stream on moto, which puts the records of each call into an object of a bucket at once."""
    key, secret = CREDENTIALS
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION)
    s3: Any = session.client("s3", endpoint_url=endpoint)
    streams: Any = session.client("firehose", endpoint_url=endpoint)
    bucket, name = unique_name("bucket"), unique_name("stream")
    s3.create_bucket(Bucket=bucket)
    role = "arn:aws:iam::123456789012:role/firehose"
    destination = {"RoleARN": role, "BucketARN": f"arn:aws:s3:::{bucket}"}
    streams.create_delivery_stream(DeliveryStreamName=name, ExtendedS3DestinationConfiguration=destination)

    def content() -> bytes:
        objects = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return b"".join(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in objects)

    return Place(Stream(name, REGION, endpoint), content)


@pytest.fixture
def open_log() -> Iterator[Callable[..., FirehoseLog]]:
    """Open logs, on a place or on a server; all of them are closed in the end."""
    opened: list[FirehoseLog] = []

    def open_log(where: Firehose | str, patience: RetryBudget = LONG, calling: Calling = CALLING) -> FirehoseLog:
        stream = Stream("audit", REGION, where if isinstance(where, str) else where.url)
        log = FirehoseLog(stream, calling, patience)
        opened.append(log)
        log.open()
        return log

    yield open_log
    for log in opened:
        log.close()


OpenLog = Callable[..., FirehoseLog]


def lines(count: int, size: int = 100) -> list[bytes]:
    return [json.dumps({"message_id": f"m{n}", "body": "x" * size}).encode() + b"\n" for n in range(count)]


def failure(log: FirehoseLog, records: Sequence[bytes]) -> AuditError:
    with pytest.raises(AuditError) as raised:
        log.append(records)
    assert "\n" not in str(raised.value)
    return raised.value
