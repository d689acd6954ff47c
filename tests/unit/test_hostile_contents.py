"""Whatever an answer of ReceiveMessage holds: what is read of it can be packed, requested, recorded and sent on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.audit.firehose_batch import firehose_recorder
from courier.audit.record import recorder
from courier.http.answer import Answer, Failure
from courier.http.url_parsing import read_url
from courier.message import Message, pack_messages, unpack_letter, unpack_messages
from courier.recipient.policy import DEFAULT_RULES, Backoff, Delivered, Rejected, judge
from courier.request.head import DeliveryHead, HeadStyle
from courier.request.header_sets import SETS
from courier.request.header_templates import parse_header
from courier.sender.rejection import FailureQueue
from courier.sqs.batch import Outgoing, delete_entries, send_entries
from courier.sqs.received import read_received
from courier.sqs.reply import ErrorReply, SuccessReply, read_reply
from courier.sqs.signer import Keys

TARGET = read_url("http://recipient.test/in")

any_text = (
    st.text(st.characters(), max_size=20)
    | st.sampled_from(["", "\ud800", "\x00", "a\r\nX: y", "\x85\u2028", "é", "1" * 5000, "x" * 9000, "Content-Length"])
    | st.builds(str.__mul__, st.sampled_from(["g", "é", "💩", "\n"]), st.sampled_from([200, 70_000]))
)
numbers = st.integers() | st.sampled_from([10**18, -1, 2**63, 2**64, 0])
number_texts = numbers.map(str) | any_text | st.sampled_from(["abc", "1e999", "nan", " 7 ", "٣", "1_000", "0x10", ""])
nonsense: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | numbers | st.floats() | st.lists(st.none(), max_size=1) | st.just({"a": []})
)
anything = any_text | nonsense


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """An entry of the answer: sound, or with something in it that no SQS sends."""
    body = draw(any_text)
    digest = hashlib.md5(body.encode("utf-8", "surrogatepass")).hexdigest()
    system = {
        "ApproximateReceiveCount": draw(st.just("3") | number_texts | nonsense),
        "SentTimestamp": draw(st.just("1700000000123") | number_texts | nonsense),
        "ApproximateFirstReceiveTimestamp": draw(st.just("1700000000123") | number_texts | nonsense),
        "SenderId": draw(anything),
        "MessageGroupId": draw(anything),
        "AWSTraceHeader": draw(anything),
    }
    value = st.fixed_dictionaries(
        {"DataType": st.sampled_from(["String", "Number.int", "Binary", "Binary.png", ""]) | anything},
        optional={"StringValue": any_text | number_texts, "BinaryValue": any_text | nonsense},
    )
    return {
        "MessageId": draw(st.just("id") | anything),
        "ReceiptHandle": draw(st.just("receipt") | anything),
        "Body": body,
        "MD5OfBody": digest,
        "Attributes": {name: draw(st.just(text)) for name, text in system.items() if draw(st.integers(0, 9))},
        "MessageAttributes": draw(st.none() | st.dictionaries(any_text, value, max_size=12) | nonsense),
    }


def answer_of(batch: list[Any]) -> SuccessReply:
    body = json.dumps({"Messages": batch}).encode()
    reply = read_reply("ReceiveMessage", "here", Answer(200, [], body, False, True, 0.0, 0.0), Keys("", ""))
    assert isinstance(reply, SuccessReply)
    return reply


HEADS = [
    DeliveryHead(
        TARGET,
        "queue",
        HeadStyle(headers, (parse_header("X-Own: {group} {receipt} {attribute.a}"),), attributes, type_attribute="a"),
    )
    for headers in SETS
    for attributes in ("prefixed", "bare", "none")
]
RECORDERS = [
    make(form, kept)
    for make in (recorder, firehose_recorder)
    for form in ("json", "text")
    for kept in ("full", "sha256", "none")
]
FAILURE = Failure("connection reset", "as the test wants it", 0.1)
REFUSED = Answer(422, [], b"no\x00 \xff", False, True, 0.0, 0.1)


def handle(message: Message) -> None:
    """Do all that becomes of a message in any role; whatever raises here would be a bug's line in the log."""
    for head in HEADS:
        head.render(message)
    rejected = judge(REFUSED, message.receive_count, DEFAULT_RULES, Backoff(1.0, 900.0), 0.5, 1.7e9)
    assert isinstance(rejected, Rejected)
    assert not isinstance(judge(FAILURE, message.receive_count, DEFAULT_RULES, Backoff(1.0, 9.0), 0.5, 0.0), Delivered)
    failure_queue = FailureQueue("queue")
    rejection = failure_queue.rejection(rejected, REFUSED)
    for make in RECORDERS:
        make(message, "delivered", 200, 0.1, 1.7e9)
        make(message, f"rejected: {rejected.reason}", 422, 0.1, 1.7e9, rejection)
    letter = unpack_letter(failure_queue.letter(message, rejection, 422, 1.7e9))
    orjson.dumps(send_entries([Outgoing(letter.body, letter.attributes, message.group, "", letter.trace)]))
    orjson.dumps(delete_entries([message.receipt]))


@given(st.lists(entries(), min_size=1, max_size=4), st.integers(0, 4))
@run_with(deadline=None)
def test_what_an_answer_holds_harms_only_itself(batch: list[dict[str, Any]], place: int) -> None:
    body = "sound"
    sound: Mapping[str, Any] = {
        "MessageId": "sound",
        "ReceiptHandle": "sound",
        "Body": body,
        "MD5OfBody": hashlib.md5(body.encode()).hexdigest(),
    }
    batch.insert(place, dict(sound))
    received = read_received(answer_of(batch).fields, 0.0, 30)
    assert len(received.messages) + received.corrupt == len(batch)
    assert "sound" in [message.message_id for message in received.messages]
    assert unpack_messages(*pack_messages(received.messages)) == received.messages
    for message in received.messages:
        handle(message)


@pytest.mark.parametrize(
    "broken",
    [
        b'"\\ud800"',
        b'"\xff\xfe"',
        b'"a\x01b"',
        b"1" * 10_000,
        b"[" * 900 + b"]" * 900,
        b"NaN",
    ],
    ids=["lone surrogate", "no UTF-8", "control character", "number without end", "nested", "NaN"],
)
def test_one_message_that_is_no_strict_json_leaves_the_others_readable(broken: bytes) -> None:
    sound = json.dumps(
        {"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": hashlib.md5(b"b").hexdigest()}
    )
    poison = b'{"MessageId": "p", "ReceiptHandle": "r", "MD5OfBody": "x", "Body": %b}' % broken
    body = b'{"Messages": [%b, %b]}' % (poison, sound.encode())
    reply = read_reply("ReceiveMessage", "here", Answer(200, [], body, False, True, 0.0, 0.0), Keys("", ""))
    assert isinstance(reply, SuccessReply)
    received = read_received(reply.fields, 0.0, 30)
    assert ([message.message_id for message in received.messages], received.corrupt) == (["m"], 1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"{" * 100_000, b'{"a"', b"\xff"])
def test_what_is_no_object_at_all_stays_unreadable(body: bytes) -> None:
    reply = read_reply("ReceiveMessage", "here", Answer(200, [], body, False, True, 0.0, 0.0), Keys("", ""))
    assert isinstance(reply, ErrorReply)
