"""What SQS was seen to answer where moto answers otherwise: on the virtual queue alone, with boto3 as the client.

Each test names its source. "LocalStack" are the tests of https://github.com/localstack/localstack that were run against
AWS (``tests/aws/services/sqs/test_sqs.py``, with their snapshots), and "moto" those of https://github.com/getmoto/moto
that are marked as verified with AWS.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.integration.sqs_endpoints import create_queue, refusal, sqs_client, unique_name

MEBIBYTE: Final = 1024 * 1024
TRACE: Final = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"


@pytest.fixture
def sqs(virtual_queue: str) -> Any:
    return sqs_client(virtual_queue)


@pytest.fixture
def queue(virtual_queue: str) -> str:
    return create_queue(virtual_queue)


def refusal_text(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Message"])


def test_a_batch_answer_leaves_out_the_list_that_is_empty(sqs: Any, queue: str) -> None:
    # Source: the snapshots of LocalStack's test_send_message_batch_* and test_delete_message_batch_*.
    sent = sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "0", "MessageBody": "a"}])
    assert "Failed" not in sent
    received = sqs.receive_message(QueueUrl=queue)["Messages"][0]["ReceiptHandle"]
    entries = [{"Id": "0", "ReceiptHandle": received, "VisibilityTimeout": 5}]
    assert "Failed" not in sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
    invalid = [{"Id": "0", "ReceiptHandle": "invalid", "VisibilityTimeout": 5}]
    assert "Successful" not in sqs.change_message_visibility_batch(QueueUrl=queue, Entries=invalid)
    assert "Failed" not in sqs.delete_message_batch(QueueUrl=queue, Entries=[{"Id": "0", "ReceiptHandle": received}])


def test_a_name_is_taken_as_a_queue_url(sqs: Any) -> None:
    # Source: LocalStack's test_posting_to_queue_via_queue_name; moto has it as an issue of its users.
    name = unique_name()
    sqs.create_queue(QueueName=name)
    sqs.send_message(QueueUrl=name, MessageBody="a")
    (message,) = sqs.receive_message(QueueUrl=name)["Messages"]
    sqs.delete_message(QueueUrl=name, ReceiptHandle=message["ReceiptHandle"])
    assert sqs.get_queue_attributes(QueueUrl=name, AttributeNames=["DelaySeconds"])["Attributes"]


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_a_fifo_queue_is_asked_for_in_any_case(sqs: Any, value: str) -> None:
    # Source: LocalStack's test_fifo_high_throughput_ordering creates its queue with "True" on AWS.
    name = unique_name(fifo=True)
    wanted = {"FifoQueue": value, "ContentBasedDeduplication": value}
    url = sqs.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]
    given = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(wanted))["Attributes"]
    assert given == {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"FifoQueue": value})
    assert sqs.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"] == url


def test_a_batch_with_an_entry_of_more_than_a_mebibyte_is_refused_whole(sqs: Any, queue: str) -> None:
    # Source: LocalStack's test_send_message_batch_with_oversized_contents, moto's test_send_message_batch_errors.
    entries = [{"Id": "large", "MessageBody": "a" * (MEBIBYTE + 1)}, {"Id": "small", "MessageBody": "b"}]
    for batch, size in ((entries[:1], MEBIBYTE + 1), (entries, MEBIBYTE + 2)):
        text = f"Batch requests cannot be longer than 1048576 bytes. You have sent {size} bytes."
        assert refusal_text(sqs.send_message_batch, QueueUrl=queue, Entries=batch) == text
        code = refusal(sqs.send_message_batch, QueueUrl=queue, Entries=batch)
        assert code == "AWS.SimpleQueueService.BatchRequestTooLong"
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


@pytest.mark.parametrize("own", [False, True])
def test_the_trace_header_of_the_request_is_that_of_its_messages(sqs: Any, queue: str, own: bool) -> None:
    # Source: LocalStack's test_aws_trace_header_propagation. That a message's own header counts is our reading.
    def add_header(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = TRACE

    other = "Root=1-5759e988-bd862e3fe1be46a994272793"
    attributes: dict[str, Any] = {}
    if own:
        attributes["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": other}}
    for action in ("SendMessage", "SendMessageBatch"):
        sqs.meta.events.register(f"before-send.sqs.{action}", add_header)
    sqs.send_message(QueueUrl=queue, MessageBody="a", **attributes)
    sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "0", "MessageBody": "b", **attributes}])
    received = sqs.receive_message(QueueUrl=queue, AttributeNames=["AWSTraceHeader"], MaxNumberOfMessages=10)[
        "Messages"
    ]
    assert [message["Attributes"] for message in received] == [{"AWSTraceHeader": other if own else TRACE}] * 2


@pytest.mark.parametrize("name", ["MessageGroupId", "MessageDeduplicationId"])
def test_an_id_that_is_empty_is_refused(virtual_queue: str, sqs: Any, queue: str, name: str) -> None:
    # Source: LocalStack's test_message_deduplication_id_invalid[empty] and
    # test_send_message_to_standard_queue_with_invalid_message_group_id[empty].
    fifo = create_queue(virtual_queue, fifo=True)
    text = (
        f"Value  for parameter {name} is invalid. Reason: {name} can only include alphanumeric and punctuation "
        "characters. 1 to 128 in length."
    )
    good = {"MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    assert refusal_text(sqs.send_message, QueueUrl=fifo, **{**good, name: ""}) == text
    assert refusal_text(sqs.send_message, QueueUrl=queue, **{"MessageBody": "a", name: ""}) == text
    (failed,) = sqs.send_message_batch(QueueUrl=fifo, Entries=[{"Id": "0", **good, name: ""}])["Failed"]
    assert failed["Message"] == text


@pytest.mark.parametrize("created", ["queue", "messageGroup"])
def test_a_changed_deduplication_scope_takes_no_effect(virtual_queue: str, sqs: Any, created: str) -> None:
    # Source: LocalStack's test_fifo_change_to_high_throughput_after_creation and
    # test_fifo_change_to_regular_throughput_after_creation.
    scopes = {
        "queue": {"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"},
        "messageGroup": {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"},
    }
    changed = "messageGroup" if created == "queue" else "queue"
    fifo = create_queue(virtual_queue, scopes[created], fifo=True)
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes=scopes[changed])
    given = sqs.get_queue_attributes(QueueUrl=fifo, AttributeNames=["All"])["Attributes"]
    assert {name: given[name] for name in scopes[changed]} == scopes[changed]
    for group in ("g", "h"):
        sqs.send_message(QueueUrl=fifo, MessageBody=group, MessageGroupId=group, MessageDeduplicationId="same")
    received = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in received] == (["g"] if created == "queue" else ["g", "h"])


def test_a_throughput_limit_per_group_needs_that_scope(virtual_queue: str, sqs: Any) -> None:
    # Source: "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup."
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
    limit = {"FifoThroughputLimit": "perMessageGroupId"}
    wanted = {"FifoQueue": "true", **limit}
    code = refusal(sqs.create_queue, QueueName=unique_name(fifo=True), Attributes=wanted)
    assert code == "InvalidAttributeValue"
    fifo = create_queue(virtual_queue, fifo=True)
    assert refusal(sqs.set_queue_attributes, QueueUrl=fifo, Attributes=limit) == "InvalidAttributeValue"
    both = {**limit, "DeduplicationScope": "messageGroup"}
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes=both)
    back = {"DeduplicationScope": "queue"}
    assert refusal(sqs.set_queue_attributes, QueueUrl=fifo, Attributes=back) == "InvalidAttributeValue"
    # Source: LocalStack's test_sqs_fifo_message_group_scope_no_throughput_setting.
    create_queue(virtual_queue, {"DeduplicationScope": "messageGroup"}, fifo=True)


@pytest.mark.parametrize(
    ("call", "name", "value", "reason"),
    [
        # Source: LocalStack's test_send_receive_wait_time_seconds.
        ("receive_message", "WaitTimeSeconds", 21, "Must be >= 0 and <= 20, if provided."),
        ("receive_message", "WaitTimeSeconds", -1, "Must be >= 0 and <= 20, if provided."),
        # Source: LocalStack's test_send_receive_max_number_of_messages.
        ("receive_message", "MaxNumberOfMessages", 11, "Must be between 1 and 10, if provided."),
        # Source: the tests of https://github.com/Inqnuam/local-aws-sqs have the texts of SQS.
        ("receive_message", "VisibilityTimeout", 43201, "Must be >= 0 and <= 43200, if provided."),
        ("send_message", "DelaySeconds", -234, "DelaySeconds must be >= 0 and <= 900."),
        ("send_message", "DelaySeconds", 1000, "DelaySeconds must be >= 0 and <= 900."),
    ],
)
def test_a_number_out_of_range_is_refused_in_the_words_of_sqs(
    sqs: Any, queue: str, call: str, name: str, value: int, reason: str
) -> None:
    parameters: dict[str, Any] = {"QueueUrl": queue, name: value}
    if call == "send_message":
        parameters["MessageBody"] = "a"
    text = refusal_text(getattr(sqs, call), **parameters)
    assert text == f"Value {value} for parameter {name} is invalid. Reason: {reason}"


def test_the_reuse_period_of_a_key_is_shown_only_with_a_key_or_if_it_is_unusual(sqs: Any, queue: str) -> None:
    # Source: LocalStack's test_set_queue_attributes_default_values; "The default is 300 (5 minutes)."
    def given() -> dict[str, str]:
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return {name: attributes[name] for name in attributes if name.startswith("Kms")}

    assert given() == {}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"KmsMasterKeyId": "key"})
    assert given() == {"KmsMasterKeyId": "key", "KmsDataKeyReusePeriodSeconds": "300"}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"KmsDataKeyReusePeriodSeconds": "6000"})
    assert given() == {"KmsMasterKeyId": "key", "KmsDataKeyReusePeriodSeconds": "6000"}
    wanted = {"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": "300"}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=wanted)
    assert given() == {}
