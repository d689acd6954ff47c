from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import boto3
import orjson
import pytest

from courier.local.exchange import Request, Response
from courier.local.server import serve
from courier.local.virtual.actions import ACTIONS
from courier.local.virtual.errors import SERVICE_UNAVAILABLE, ServiceError, throttled
from courier.local.virtual.faults import Faults
from courier.local.virtual.parameters import Parameters
from courier.local.virtual.service import VirtualSqs, steady_wall_clock
from tests.waiting import until

HEADERS: Final = {"host": "queue.test:9324", "authorization": "AWS4-HMAC-SHA256 Credential=any"}


def request(action: str, parameters: Mapping[str, Any] | bytes, headers: Mapping[str, str] = HEADERS) -> Request:
    body = parameters if isinstance(parameters, bytes) else orjson.dumps(parameters)
    return Request("POST", "/", {**headers, "x-amz-target": f"AmazonSQS.{action}"}, body)


def now(sqs: VirtualSqs, action: str, **parameters: Any) -> Response:
    response = sqs.handle(request(action, parameters))
    assert isinstance(response, Response)
    return response


def done(sqs: VirtualSqs, action: str, **parameters: Any) -> dict[str, Any]:
    response = now(sqs, action, **parameters)
    assert response.status == 200, response.body
    answer: dict[str, Any] = orjson.loads(response.body)
    return answer


def refused(response: Response) -> tuple[int, str, str]:
    """The status, the shape and the query code of an error."""
    headers = dict(response.headers)
    assert headers["Content-Type"] == "application/x-amz-json-1.0"
    code, _, side = headers["x-amzn-query-error"].partition(";")
    assert side in ("Sender", "Receiver")
    return response.status, orjson.loads(response.body)["__type"].partition("#")[2], code


def later(sqs: VirtualSqs, action: str, **parameters: Any) -> Awaitable[Response]:
    response = sqs.handle(request(action, parameters))
    assert not isinstance(response, Response)
    return asyncio.ensure_future(response)


def messages(response: Response) -> list[str]:
    assert response.status == 200, response.body
    return [message["Body"] for message in orjson.loads(response.body).get("Messages", [])]


def queue(sqs: VirtualSqs, name: str = "queue", **attributes: str) -> str:
    sqs.create_queue(name, attributes)
    return f"http://queue.test:9324{sqs.path_of(name)}"


class TestProtocol:
    def test_the_queue_url_is_built_from_the_host_header(self) -> None:
        answer = done(VirtualSqs(), "CreateQueue", QueueName="queue")
        assert answer == {"QueueUrl": "http://queue.test:9324/000000000000/queue"}

    def test_every_answer_has_a_request_id_of_its_own(self) -> None:
        sqs = VirtualSqs()
        ids = {dict(now(sqs, "ListQueues").headers)["x-amzn-RequestId"] for _ in range(100)}
        assert len(ids) == 100

    def test_a_request_that_is_not_signed_is_denied_as_an_anonymous_one(self) -> None:
        response = VirtualSqs().handle(request("ListQueues", {}, {"host": "queue.test"}))
        assert isinstance(response, Response)
        assert refused(response) == (403, "AccessDeniedException", "AccessDenied")

    def test_every_action_of_sqs_is_known(self) -> None:
        model = boto3.client("sqs", region_name="local").meta.service_model
        assert set(model.operation_names) == set(ACTIONS)

    def test_an_action_that_sqs_has_not_is_invalid(self) -> None:
        assert refused(now(VirtualSqs(), "Nonsense")) == (400, "UnknownOperationException", "InvalidAction")

    @pytest.mark.parametrize(
        "other",
        [
            Request("GET", "/", HEADERS, b""),
            Request("POST", "/", HEADERS, b"Action=ListQueues&Version=2012-11-05"),
            Request("POST", "/", {**HEADERS, "x-amz-target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ],
        ids=["get", "query protocol", "other service"],
    )
    def test_what_is_not_the_json_protocol_is_refused(self, other: Request) -> None:
        response = VirtualSqs().handle(other)
        assert isinstance(response, Response)
        assert refused(response)[2] == "InvalidAction"

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"QueueNamePrefix": 1}', b'{"MaxResults": "1"}'])
    def test_a_body_that_cannot_be_read_is_refused(self, body: bytes) -> None:
        response = VirtualSqs().handle(request("ListQueues", body))
        assert isinstance(response, Response)
        if body:
            assert refused(response) == (400, "SerializationException", "SerializationException")
        else:
            assert response.status == 200

    @pytest.mark.parametrize("url", ["", "nonsense", "http://h/000000000000/other", "http://h/111111111111/queue"])
    def test_a_queue_url_that_leads_nowhere_is_told(self, url: str) -> None:
        sqs = VirtualSqs()
        queue(sqs)
        code = refused(now(sqs, "SendMessage", QueueUrl=url, MessageBody="a"))[2]
        assert code == ("AWS.SimpleQueueService.NonExistentQueue" if url else "MissingParameter")

    @pytest.mark.parametrize(
        ("action", "parameters"),
        [
            ("SendMessage", {"MessageBody": ""}),
            ("SendMessageBatch", {}),
            ("DeleteMessage", {}),
            ("DeleteMessageBatch", {}),
            ("ChangeMessageVisibility", {"VisibilityTimeout": 0}),
            ("ChangeMessageVisibilityBatch", {}),
            ("SetQueueAttributes", {}),
        ],
    )
    def test_a_parameter_that_is_missing_is_asked_for(self, action: str, parameters: dict[str, Any]) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        response = now(sqs, action, QueueUrl=url, **parameters)
        assert refused(response) == (400, "MissingRequiredParameterException", "MissingParameter")

    @pytest.mark.parametrize(
        ("value", "shown"),
        [("400", "400"), (400, "400"), (None, "0"), (True, ""), ("", ""), (" 6", ""), (4.5, ""), ([], ""), ({}, "")],
    )
    def test_an_attribute_of_a_queue_may_be_a_number_or_null(self, value: Any, shown: str) -> None:
        # Source: the tests of https://github.com/Inqnuam/local-aws-sqs; SQS also has other words for lists and objects.
        sqs = VirtualSqs()
        response = now(sqs, "CreateQueue", QueueName="queue", Attributes={"DelaySeconds": value})
        if not shown:
            assert refused(response)[2] == "InvalidAttributeValue"
            return
        given = done(sqs, "GetQueueAttributes", QueueUrl="queue", AttributeNames=["DelaySeconds"])
        assert given == {"Attributes": {"DelaySeconds": shown}}

    @pytest.mark.parametrize("action", ["CreateQueue", "GetQueueUrl"])
    @pytest.mark.parametrize("parameters", [{}, {"QueueName": ""}, {"QueueName": None}])
    def test_a_queue_name_that_is_missing_is_asked_for(self, action: str, parameters: dict[str, Any]) -> None:
        # Source: the tests of https://github.com/Inqnuam/local-aws-sqs have the texts of SQS.
        response = now(VirtualSqs(), action, **parameters)
        assert refused(response)[2] == "InvalidParameterValue"
        text = "Value for parameter QueueName is invalid. Reason: Must specify a queue name."
        assert orjson.loads(response.body)["message"] == text

    @pytest.mark.parametrize(
        ("action", "parameters"),
        [
            ("SendMessage", {"MessageBody": 1}),
            ("SendMessage", {"MessageBody": "a", "DelaySeconds": "1"}),
            ("SendMessage", {"MessageBody": "a", "MessageAttributes": []}),
            ("SendMessageBatch", {"Entries": {}}),
            ("SendMessageBatch", {"Entries": ["a"]}),
            ("ReceiveMessage", {"MaxNumberOfMessages": True}),
            ("ReceiveMessage", {"AttributeNames": "All"}),
            ("ReceiveMessage", {"MessageAttributeNames": [1]}),
        ],
    )
    def test_a_parameter_of_the_wrong_type_is_refused(self, action: str, parameters: dict[str, Any]) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        assert refused(now(sqs, action, QueueUrl=url, **parameters))[1] == "SerializationException"

    def test_a_system_attribute_that_does_not_exist_is_refused(self) -> None:
        sqs = VirtualSqs()
        response = now(sqs, "ReceiveMessage", QueueUrl=queue(sqs), AttributeNames=["Nonsense"])
        assert refused(response)[2] == "InvalidAttributeName"

    def test_a_number_of_thousands_of_digits_is_out_of_range(self) -> None:
        response = now(VirtualSqs(), "CreateQueue", QueueName="queue", Attributes={"DelaySeconds": "1" * 5000})
        assert refused(response)[2] == "InvalidAttributeValue"

    def test_an_old_client_without_a_host_is_answered(self) -> None:
        headers = {"authorization": "any"}
        response = VirtualSqs().handle(request("CreateQueue", {"QueueName": "queue"}, headers))
        assert isinstance(response, Response)
        assert response.status == 200

    def test_a_short_poll_at_the_limit_of_messages_in_flight_is_refused(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        sqs.registry.find("queue").in_flight_limit = 1
        for body in "ab":
            done(sqs, "SendMessage", QueueUrl=url, MessageBody=body)
        assert "Messages" in done(sqs, "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
        assert refused(now(sqs, "ReceiveMessage", QueueUrl=url)) == (403, "OverLimit", "OverLimit")

    def test_a_page_token_of_somebody_else_is_refused(self) -> None:
        sqs = VirtualSqs()
        for token in ("%", base64.b64encode(b"\xff").decode()):
            assert refused(now(sqs, "ListQueues", MaxResults=1, NextToken=token))[2] == "InvalidParameterValue"

    def test_an_entry_whose_message_is_too_large_for_the_queue_fails_alone(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs, MaximumMessageSize="1024")
        entries = [{"Id": "large", "MessageBody": "x" * 1025}, {"Id": "small", "MessageBody": "x"}]
        answer = done(sqs, "SendMessageBatch", QueueUrl=url, Entries=entries)
        assert [entry["Id"] for entry in answer["Successful"]] == ["small"]
        assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("large", "InvalidParameterValue")]

    def test_a_batch_without_the_group_that_a_fifo_queue_must_have_is_refused_whole(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs, "queue.fifo")
        good = {"Id": "good", "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
        for missing in ("MessageGroupId", "MessageDeduplicationId"):
            bad = {**good, "Id": "bad"}
            del bad[missing]
            response = now(sqs, "SendMessageBatch", QueueUrl=url, Entries=[good, bad])
            assert refused(response)[2] == "InvalidParameterValue"
        assert sqs.registry.find("queue.fifo").counts(sqs.clock()).visible == 0


class TestLongPolls:
    async def test_a_poll_is_woken_by_a_message_and_takes_it(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        poll = later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        await asyncio.sleep(0)
        done(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        assert messages(await poll) == ["a"]

    async def test_a_poll_that_has_not_begun_to_wait_takes_the_message_that_comes(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        poll = later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        done(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        async with asyncio.timeout(10):
            assert messages(await poll) == ["a"]

    async def test_one_message_wakes_one_poll_the_one_that_waited_longest(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        polls = [later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20) for _ in range(3)]
        await asyncio.sleep(0)
        for body in "abc":
            done(sqs, "SendMessage", QueueUrl=url, MessageBody=body)
            assert messages(await polls["abc".index(body)]) == [body]
            assert [poll.done() for poll in polls if isinstance(poll, asyncio.Future)].count(True) == (
                "abc".index(body) + 1
            )

    async def test_polls_share_what_a_batch_brings(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        polls = [later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20) for _ in range(3)]
        await asyncio.sleep(0)
        entries = [{"Id": body, "MessageBody": body} for body in "abc"]
        done(sqs, "SendMessageBatch", QueueUrl=url, Entries=entries)
        assert [messages(await poll) for poll in polls] == [["a"], ["b"], ["c"]]

    async def test_a_poll_is_woken_when_a_message_comes_visible_by_itself(self) -> None:
        clock = [1000.0]
        sqs = VirtualSqs(clock=lambda: clock[0])
        url = queue(sqs)
        done(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        done(sqs, "ReceiveMessage", QueueUrl=url, VisibilityTimeout=1)
        poll = later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        await asyncio.sleep(0)
        clock[0] += 1  # the timer is set for then, and the loop's own second has to pass too
        assert messages(await poll) == ["a"]

    @pytest.mark.parametrize("way", ["visibility", "attributes"])
    async def test_a_poll_is_woken_when_a_message_is_given_back(self, way: str) -> None:
        sqs = VirtualSqs()
        url = queue(sqs, "queue.fifo" if way == "attributes" else "queue", DelaySeconds="0")
        if way == "attributes":
            sqs.registry.change(sqs.registry.find("queue.fifo"), {"DelaySeconds": "900"}, sqs.clock())
        parameters = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if way == "attributes" else {}
        done(sqs, "SendMessage", QueueUrl=url, MessageBody="a", **parameters)
        received = done(sqs, "ReceiveMessage", QueueUrl=url).get("Messages", [])
        poll = later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        await asyncio.sleep(0)
        if way == "attributes":
            done(sqs, "SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "0"})
        else:
            entries = [{"Id": "0", "ReceiptHandle": received[0]["ReceiptHandle"], "VisibilityTimeout": 0}]
            done(sqs, "ChangeMessageVisibilityBatch", QueueUrl=url, Entries=entries)
        assert messages(await poll) == ["a"]

    async def test_a_poll_of_a_dead_letter_queue_is_woken_by_a_dead_letter(self) -> None:
        sqs = VirtualSqs()
        dead = queue(sqs, "dead")
        policy = orjson.dumps({"deadLetterTargetArn": sqs.registry.find("dead").arn, "maxReceiveCount": 1}).decode()
        url = queue(sqs, RedrivePolicy=policy)
        done(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        done(sqs, "ReceiveMessage", QueueUrl=url, VisibilityTimeout=0)
        poll = later(sqs, "ReceiveMessage", QueueUrl=dead, WaitTimeSeconds=20)
        await asyncio.sleep(0)
        assert done(sqs, "ReceiveMessage", QueueUrl=url) == {}
        assert messages(await poll) == ["a"]

    async def test_a_cancelled_poll_takes_nothing_and_the_next_is_woken_in_its_place(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        first = asyncio.ensure_future(later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        second = later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        await asyncio.sleep(0)
        done(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        first.cancel()  # it was woken for the message, and has not run since
        assert messages(await second) == ["a"]

    async def test_a_client_that_goes_away_in_a_poll_leaves_the_message_to_others(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        server = await serve(sqs.handle)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = orjson.dumps({"QueueUrl": url, "WaitTimeSeconds": 20})
        head = "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: any\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        waiting = sqs.polls(sqs.registry.find("queue"))._waiting
        await until(lambda: len(waiting) == 1)
        writer.close()
        await until(lambda: not waiting)
        done(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        assert sqs.registry.find("queue").counts(sqs.clock()).visible == 1
        server.close()
        await server.wait_closed()

    async def test_a_poll_that_finds_nothing_ends_empty_when_its_time_is_over(self) -> None:
        clock = [1000.0]
        sqs = VirtualSqs(clock=lambda: clock[0])
        url = queue(sqs, ReceiveMessageWaitTimeSeconds="1")
        poll = later(sqs, "ReceiveMessage", QueueUrl=url)
        await asyncio.sleep(0)
        clock[0] += 1
        assert messages(await poll) == []

    async def test_a_poll_at_the_limit_of_messages_in_flight_waits_and_gets_what_comes_free(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        sqs.registry.find("queue").in_flight_limit = 1
        for body in "ab":
            done(sqs, "SendMessage", QueueUrl=url, MessageBody=body)
        (held,) = done(sqs, "ReceiveMessage", QueueUrl=url)["Messages"]
        poll = later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        await asyncio.sleep(0)
        done(sqs, "DeleteMessage", QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
        assert messages(await poll) == ["b"]

    async def test_closing_ends_all_polls_with_an_empty_answer(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        polls = [later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20) for _ in range(3)]
        await asyncio.sleep(0)
        sqs.close()
        assert [messages(await poll) for poll in polls] == [[], [], []]


class TestFaults:
    def test_a_call_can_be_made_to_fail_and_is_not_done(self) -> None:
        class Throttled(Faults):
            def call(self, action: str, parameters: Parameters) -> ServiceError | None:
                return throttled() if action == "SendMessage" else None

        sqs = VirtualSqs(faults=Throttled())
        url = queue(sqs)
        response = now(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        assert refused(response) == (403, "RequestThrottled", "RequestThrottled")
        assert done(sqs, "ReceiveMessage", QueueUrl=url) == {}

    def test_entries_of_a_batch_can_be_made_to_fail(self) -> None:
        class EverySecond(Faults):
            def entry(self, action: str, entry: Parameters) -> ServiceError | None:
                if int(entry["Id"]) % 2:
                    return ServiceError(SERVICE_UNAVAILABLE, action, sender_fault=False)
                return None

        sqs = VirtualSqs(faults=EverySecond())
        url = queue(sqs)
        entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(4)]
        sent = done(sqs, "SendMessageBatch", QueueUrl=url, Entries=entries)
        assert [entry["Id"] for entry in sent["Successful"]] == ["0", "2"]
        received = done(sqs, "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(received)]
        deleted = done(sqs, "DeleteMessageBatch", QueueUrl=url, Entries=handles)
        assert deleted["Successful"] == [{"Id": "0"}]
        assert deleted["Failed"] == [
            {"Id": "1", "SenderFault": False, "Code": "ServiceUnavailable", "Message": "DeleteMessageBatch"}
        ]
        assert sqs.registry.find("queue").counts(sqs.clock()).in_flight == 1

    @pytest.mark.parametrize("source", ["latency", "faults"])
    async def test_calls_can_be_made_slow(self, source: str) -> None:
        class Slow(Faults):
            def latency(self, action: str) -> float:
                return 0.001

        sqs = VirtualSqs(latency=0.001) if source == "latency" else VirtualSqs(faults=Slow())
        url = queue(sqs)
        sent = later(sqs, "SendMessage", QueueUrl=url, MessageBody="a")
        assert sqs.registry.find("queue").counts(sqs.clock()).visible == 0
        assert (await sent).status == 200
        assert messages(await later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)) == ["a"]
        assert refused(await later(sqs, "SendMessage", QueueUrl="x", MessageBody="a"))[0] == 400

    async def test_a_poll_that_waits_can_end_in_an_error(self) -> None:
        sqs = VirtualSqs()
        url = queue(sqs)
        poll = later(sqs, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        await asyncio.sleep(0)
        done(sqs, "DeleteQueue", QueueUrl=url)
        assert refused(await poll)[1] == "QueueDoesNotExist"


def test_the_clock_tells_the_time_and_does_not_go_back() -> None:
    clock = steady_wall_clock()
    readings = [clock() for _ in range(1000)]
    assert sorted(readings) == readings
    assert abs(readings[-1] - time.time()) < 60
