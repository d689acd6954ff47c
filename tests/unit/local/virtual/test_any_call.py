"""Any call, with parameters of any form: it gets an answer of SQS, and the queues go on."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import boto3
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.local.exchange import Request, Response
from courier.local.virtual.service import VirtualSqs
from tests.examples import examples

MODEL: Final = boto3.client("sqs", region_name="local").meta.service_model
ACTIONS: Final = tuple(MODEL.operation_names)
MEMBERS: Final = {action: tuple(MODEL.operation_model(action).input_shape.members) for action in ACTIONS}
REGIONS: Final = ("us-east-1", "eu-west-1", "", "/", "ü")

QUEUES: Final = ("queue", "dead", "queue.fifo", "http://queue.test/000000000000/queue")
ARNS: Final = tuple(f"arn:aws:sqs:us-east-1:000000000000:{name}" for name in ("queue", "dead", "queue.fifo"))
DOCUMENTS: Final = (
    f'{{"deadLetterTargetArn":"{ARNS[1]}","maxReceiveCount":1}}',
    '{"redrivePermission":"byQueue","sourceQueueArns":[]}',
    '{"Statement":{"Effect":"Allow","Action":"*"}}',
    "[]",
)
NAMES: Final = (
    "All",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SenderId",
    "VisibilityTimeout",
    "Id",
    "MessageBody",
    "MessageGroupId",
    "MessageDeduplicationId",
    "ReceiptHandle",
    "DataType",
    "StringValue",
    "BinaryValue",
    "AWSTraceHeader",
    "MessageAttributes",
    "MessageSystemAttributes",
)
TEXTS: Final = st.one_of(
    st.sampled_from([*QUEUES, *ARNS, *DOCUMENTS, *NAMES, "", "0", "60", "true", "String", "Number", "Binary", "YQ=="]),
    st.text(max_size=5),
)
PLAIN: Final = st.one_of(st.none(), st.booleans(), st.integers(-1, 20), st.just(2**60), st.floats(0, 9), TEXTS)
VALUES: Final = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=3)), inner)
    ),
    max_leaves=8,
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any], str]:
    action = draw(st.sampled_from(ACTIONS))
    parameters: dict[str, Any] = {}
    for member in MEMBERS[action]:
        if member in ("QueueUrl", "QueueName", "SourceArn") and draw(st.integers(0, 9)):
            parameters[member] = draw(st.sampled_from(ARNS if member == "SourceArn" else QUEUES))
        elif member == "MessageBody" and draw(st.booleans()):
            parameters[member] = "body"
        elif draw(st.booleans()):
            parameters[member] = draw(VALUES)
    return action, parameters, draw(st.sampled_from(REGIONS))


async def answer(sqs: VirtualSqs, action: str, parameters: dict[str, Any], region: str) -> tuple[int, Any]:
    headers = {
        "host": "queue.test",
        "authorization": f"AWS4-HMAC-SHA256 Credential=key/20261126/{region}/sqs/aws4_request",
        "x-amz-target": f"AmazonSQS.{action}",
    }
    response = sqs.handle(Request("POST", "/", headers, orjson.dumps(parameters)))
    if not isinstance(response, Response):  # a long poll
        waiting = asyncio.ensure_future(response)
        await asyncio.sleep(0)
        sqs.close()
        response = await waiting
        sqs.closing = False
    await asyncio.sleep(0)
    return response.status, orjson.loads(response.body)


@given(made=st.lists(calls(), max_size=12))
@settings(max_examples=examples(300), deadline=None)
def test_any_call_is_answered_and_the_queues_go_on(made: list[tuple[str, dict[str, Any], str]]) -> None:
    async def run() -> None:
        sqs = VirtualSqs()
        for name in ("dead", "queue", "queue.fifo"):
            sqs.create_queue(name)
        sqs.registry.change(sqs.registry.find("queue"), {"RedrivePolicy": DOCUMENTS[0]}, sqs.clock())
        for action, parameters, region in made:
            status, body = await answer(sqs, action, parameters, region)
            assert isinstance(body, dict)
            assert status == 200 or (status in (400, 403, 404) and body["__type"])
        await answer(sqs, "CreateQueue", {"QueueName": "again"}, "us-east-1")
        sent = await answer(sqs, "SendMessage", {"QueueUrl": "again", "MessageBody": "a"}, "us-east-1")
        assert sent[0] == 200
        _, received = await answer(sqs, "ReceiveMessage", {"QueueUrl": "again"}, "us-east-1")
        assert [message["Body"] for message in received["Messages"]] == ["a"]

    asyncio.run(run())
