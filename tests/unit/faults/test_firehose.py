"""The faulty Firehose, with boto3 as its client: what each fault answers, and what is in the stream after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from courier.audit.record import Rejection, record_line
from scripts.faults.firehose import FaultyFirehose, FirehoseFault
from tests.unit.stage import message

READ_SECONDS = 1.0


@pytest.fixture
def firehose() -> Iterator[FaultyFirehose]:
    running = FaultyFirehose()
    yield running
    running.stop()


@pytest.fixture
def client(firehose: FaultyFirehose) -> Iterator[Any]:
    """A client that doesn't retry."""
    made: Any = boto3.client(
        "firehose",
        endpoint_url=firehose.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=READ_SECONDS),
    )
    yield made
    made.close()


def record(name: str) -> bytes:
    return record_line(message(name), "delivered", 200, 0.001, 1_795_523_500.0)


def put(client: Any, *records: bytes) -> Any:
    return client.put_record_batch(DeliveryStreamName="audit", Records=[{"Data": data} for data in records])


def test_the_stream_is_active_and_takes_records(firehose: FaultyFirehose, client: Any) -> None:
    described = client.describe_delivery_stream(DeliveryStreamName="audit")["DeliveryStreamDescription"]
    assert described["DeliveryStreamStatus"] == "ACTIVE"
    answer = put(client, record("a"), record("b"))
    assert answer["FailedPutCount"] == 0
    assert firehose.durable(["a", "b", "c"]) == {"a", "b"}
    assert firehose.hits == 0


def test_a_record_may_hold_several_lines(firehose: FaultyFirehose, client: Any) -> None:
    put(client, record("a") + record("b"), record("a"))
    assert firehose.records == {"a": 2, "b": 1}


def test_a_rejection_is_kept_with_its_reason(firehose: FaultyFirehose, client: Any) -> None:
    rejection = Rejection("status 404", "queue", "no such thing")
    put(client, record_line(message("a"), "rejected: status 404", 404, 0.001, 1_795_523_500.0, rejection), record("b"))
    assert firehose.rejected == {"a": "status 404"}
    assert firehose.durable(["a", "b"]) == {"a", "b"}


@pytest.mark.parametrize("data", [b"no JSON\n", b'{"message": "without an id"}\n', b"[1]\n"])
def test_a_record_that_names_no_message_is_shown(firehose: FaultyFirehose, client: Any, data: bytes) -> None:
    put(client, data, record("a"))
    assert firehose.unreadable == [data.rstrip()]
    assert firehose.records == {"a": 1}


def test_partial_keeps_the_records_that_it_answers_with_an_id(firehose: FaultyFirehose, client: Any) -> None:
    firehose.show(FirehoseFault("partial", share=0.5, seed=7))
    names = [f"m{n}" for n in range(100)]
    answer = put(client, *map(record, names))
    results = zip(names, answer["RequestResponses"], strict=True)
    kept = {name for name, result in results if "RecordId" in result}
    assert firehose.durable(names) == kept
    assert answer["FailedPutCount"] == 100 - len(kept) == firehose.hits
    assert 0 < len(kept) < 100
    assert {each["ErrorCode"] for each in answer["RequestResponses"] if "ErrorCode" in each} == {
        "ServiceUnavailableException"
    }


@pytest.mark.parametrize(
    ("kind", "code", "status"), [("throttled", "ThrottlingException", 400), ("error", "InternalFailure", 500)]
)
def test_a_refused_call_keeps_nothing(firehose: FaultyFirehose, client: Any, kind: Any, code: str, status: int) -> None:
    firehose.show(FirehoseFault(kind))
    with pytest.raises(ClientError) as caught:
        put(client, record("a"))
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert not firehose.records


def test_a_reset_after_writing_keeps_the_records(firehose: FaultyFirehose, client: Any) -> None:
    firehose.show(FirehoseFault("reset-after"))
    with pytest.raises(BotoCoreError):
        put(client, record("a"))
    assert firehose.durable(["a"]) == {"a"}


def test_silence_after_writing_keeps_the_records(firehose: FaultyFirehose, client: Any) -> None:
    firehose.show(FirehoseFault("silent-after"))
    with pytest.raises(ReadTimeoutError):
        put(client, record("a"))
    assert firehose.durable(["a"]) == {"a"}


def test_a_slow_call_is_answered_after_a_while(firehose: FaultyFirehose, client: Any) -> None:
    firehose.show(FirehoseFault("slow", seconds=0.1))
    assert put(client, record("a"))["FailedPutCount"] == 0
    assert firehose.hits == 1


def test_the_share_decides_how_many_calls_meet_a_fault_and_heal_ends_it(firehose: FaultyFirehose, client: Any) -> None:
    firehose.show(FirehoseFault("error", share=0.5, seed=3))
    refused = 0
    for n in range(30):
        try:
            put(client, record(f"m{n}"))
        except ClientError:
            refused += 1
    assert 0 < refused < 30
    assert firehose.hits == refused
    assert len(firehose.records) == 30 - refused
    firehose.heal()
    for n in range(30):
        put(client, record(f"healed-{n}"))
    assert firehose.hits == refused
