"""The door of the feeder: another user of the machine finds neither records nor a way to have something sent."""

from __future__ import annotations

import orjson
import pytest

from courier.http.url_parsing import read_url
from courier.local.exchange import Request, Response
from courier.local.virtual.actions import ACTIONS
from courier.local.virtual.service import VirtualSqs
from courier.replay.candidate import Candidate
from courier.replay.feeder import door, stored
from courier.sqs.queue import QueueInfo

URL = "http://127.0.0.1:1/000000000000/"
FAILURES = QueueInfo(f"{URL}replay-secret-2", "failures", "local", read_url("http://127.0.0.1:1"), False, 30)
ENTRY = {"Id": "0", "MessageBody": "body", "ReceiptHandle": "r", "VisibilityTimeout": 0}


def ask(action: str, body: bytes) -> Response:
    sqs = VirtualSqs()
    queue = sqs.create_queue("replay-secret-1")
    queue.restore(stored(Candidate("m", "", 0, "body", 4), sqs.clock()), sqs.clock())
    headers = {"x-amz-target": f"AmazonSQS.{action}", "authorization": "any", "host": "127.0.0.1:1"}
    answer = door(sqs, FAILURES)(Request("POST", "/", headers, body))
    assert isinstance(answer, Response)
    return answer


@pytest.mark.parametrize("action", sorted(ACTIONS))
@pytest.mark.parametrize("name", ["", "courier", "replay-", "replay-secret-2x", "*"])
def test_nobody_gets_anything_without_the_name(action: str, name: str) -> None:
    answer = ask(action, orjson.dumps({"QueueUrl": URL + name, "QueueName": name, "Entries": [ENTRY]}))
    assert answer.status in (400, 403)
    assert b"secret" not in answer.body.replace(name.encode() or b"-", b"")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"QueueUrl": 1}', b"\xff"])
def test_a_call_that_no_process_of_the_replay_makes_is_refused_and_raises_nothing(body: bytes) -> None:
    assert ask("SendMessageBatch", body).status in (400, 403)


def test_failed_messages_are_taken_whatever_they_hold() -> None:
    entries = [{"Id": "0", "MessageBody": "\0\ufffe"}, {"Id": "1", "MessageBody": "b", "MessageAttributes": 7}]
    answer = ask("SendMessageBatch", orjson.dumps({"QueueUrl": FAILURES.url, "Entries": entries}))
    assert [each["Id"] for each in orjson.loads(answer.body)["Successful"]] == ["0", "1"]
    assert ask("SendMessageBatch", orjson.dumps({"QueueUrl": FAILURES.url, "Entries": [7]})).status == 400
