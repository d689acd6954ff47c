"""Envelopes are taken off, what isn't one stays as it is, and what isn't for the recipient has a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.body.unwrap import MOST_ATTRIBUTES, Unwrap, Unwrapped, unwrap
from courier.http.answer import Failure
from courier.message import Attribute, Message
from courier.recipient.content import CONFIRMATION, MALFORMED, TEST_EVENT
from courier.request.content import Content
from tests.examples import examples
from tests.unit.body import messages
from tests.unit.body.messages import TOPIC, event, sns, with_body


def opened(message: Message) -> Unwrapped:
    unwrapped = unwrap(message)
    assert isinstance(unwrapped, Unwrapped), unwrapped
    return unwrapped


def failed(message: Message) -> str:
    failure = unwrap(message)
    assert isinstance(failure, Failure), failure
    assert failure.detail
    return failure.reason


def test_the_message_its_attributes_and_what_stood_on_the_envelope_come_out() -> None:
    unwrapped = opened(sns('{"a": 1}'))
    assert unwrapped.message.body == b'{"a": 1}'
    assert unwrapped.message.attributes == (Attribute("tenant", "String", "acme"),)
    assert dict(unwrapped.headers) == {
        b"X-Amz-Sns-Message-Type": b"Notification",
        b"X-Amz-Sns-Message-Id": b"22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        b"X-Amz-Sns-Topic-Arn": TOPIC.encode(),
        b"X-Amz-Sns-Subject": b"My First Message",
    }


def test_an_envelope_without_subject_and_attributes_is_one_too() -> None:
    unwrapped = opened(sns("", Subject=None, MessageAttributes=None))
    assert unwrapped.message.body == b""
    assert unwrapped.message.attributes == ()
    assert b"X-Amz-Sns-Subject" not in dict(unwrapped.headers)


def test_attributes_of_the_message_in_the_queue_stay_and_win() -> None:
    message = sns()._replace(attributes=(Attribute("tenant", "String", "real"), Attribute("b", "Number", "7")))
    assert opened(message).message.attributes == message.attributes


def test_attributes_of_all_types_come_along() -> None:
    given = {
        "n": {"Type": "Number", "Value": "1.5"},
        "l": {"Type": "String.Array", "Value": '["a", 1]'},
        "b": {"Type": "Binary", "Value": "AQI="},
    }
    assert opened(sns(MessageAttributes=given)).message.attributes == (
        Attribute("n", "Number", "1.5"),
        Attribute("l", "String.Array", '["a", 1]'),
        Attribute("b", "Binary", "AQI="),
    )


def test_the_detail_of_an_event_comes_out_as_it_was_written() -> None:
    detail = '{"n": 1.10, "big": 123456789012345678901234567890, "\\u0061":\t"\\u00e9"}'
    unwrapped = opened(with_body(event(detail)))
    assert unwrapped.message.body == detail.encode()
    assert dict(unwrapped.headers) == {
        b"Courier-Event-Id": b"6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        b"Courier-Event-Source": b"aws.ec2",
        b"Courier-Event-Type": b"EC2 Instance State-change Notification",
        b"Courier-Event-Time": b"2017-12-22T18:43:48Z",
    }


def test_an_event_that_came_through_a_topic_leaves_both_envelopes() -> None:
    unwrapped = opened(sns(event('"x"')))
    assert unwrapped.message.body == b'"x"'
    assert {b"X-Amz-Sns-Topic-Arn", b"Courier-Event-Id"} <= dict(unwrapped.headers).keys()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "{}",
        '{"Type": "Notification", "Message": "m"}',
        '{"Type": "Notification", "TopicArn": "a"}',
        json.dumps(messages.envelope() | {"Type": "Invoice"}),
        json.dumps([messages.envelope()]),
        json.dumps(messages.envelope())[:-1] + ', "Message": "another"}',
        "\ufeff" + json.dumps(messages.envelope()),
        event().replace('"source"', '"origin"'),
        event().replace('"detail-type": "EC2', '"detail-type2": "EC2'),
    ],
)
def test_what_is_no_envelope_stays_as_it_is(body: str) -> None:
    message = with_body(body, a="b")
    assert opened(message) == Unwrapped(message)


def test_what_is_not_utf_8_stays_as_it_is() -> None:
    message = with_body(json.dumps(messages.envelope()).encode() + b"\xff")
    assert opened(message).message is message


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": 7},
        {"Message": {"default": "x"}},
        {"Message": None},
        {"Message": "\ud800"},
        {"MessageId": 7},
        {"TopicArn": "orders"},
        {"TopicArn": "arn:aws:sqs:us-east-1:123456789012:orders"},
        {"TopicArn": TOPIC + "\r\nX: y"},
        {"TopicArn": ["a"]},
        {"Subject": 7},
        {"MessageAttributes": ["a"]},
        {"MessageAttributes": {"a": "b"}},
        {"MessageAttributes": {"a": {"Type": "String"}, "b": {"Type": 7, "Value": "x"}}},
        {"MessageAttributes": {"a": {"Type": "String", "Value": ["x"]}}},
        {"MessageAttributes": {"": {"Type": "String", "Value": "x"}}},
        {"MessageAttributes": {"a": {"Type": "String", "Value": "\udfff"}}},
    ],
    ids=str,
)
def test_what_only_looks_like_an_envelope_is_malformed(changes: dict[str, Any]) -> None:
    fields = messages.envelope() | changes
    assert failed(with_body(json.dumps({n: v for n, v in fields.items() if v is not None}))) == MALFORMED


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_confirmations_of_sns_are_not_for_the_recipient(kind: str) -> None:
    assert failed(sns(Type=kind, Token="t", SubscribeURL="https://sns.us-east-1.amazonaws.com/")) == CONFIRMATION


def test_the_test_event_of_s3_is_not_for_the_recipient_directly_or_through_a_topic() -> None:
    assert failed(with_body(messages.TEST_EVENT)) == TEST_EVENT
    assert failed(sns(messages.TEST_EVENT)) == TEST_EVENT


def lines(message: Message, *, describes: bool = True, own: tuple[str, ...] = ()) -> bytes:
    made = Unwrap(describes=describes, own=own)(Content(message, b"X: y\r\n"), lambda _: None)
    assert isinstance(made, Content)
    return made.headers


def test_headers_of_the_operators_own_replace_those_of_the_envelope() -> None:
    assert b"\r\nX-Amz-Sns-Subject: My First Message\r\n" in lines(sns())
    assert b"Subject" not in lines(sns(), own=("x-amz-sns-SUBJECT",))
    assert lines(sns(), describes=False) == b"X: y\r\n"
    assert lines(with_body("raw")) == b"X: y\r\n"


def test_a_value_that_no_header_can_hold_is_left_out_and_counted() -> None:
    step = Unwrap(describes=True, own=())
    for subject, dropped in (("Größe", 1), ("a\r\nX: y", 1), ("", 0), ("ok", 0)):
        made = step(Content(sns(Subject=subject)), lambda _: None)
        assert isinstance(made, Content)
        assert made.dropped == dropped
        assert (b"X-Amz-Sns-Subject: " in made.headers) == (subject == "ok")
    made = Unwrap(describes=False, own=())(Content(sns(Subject="é")), lambda _: None)
    assert isinstance(made, Content)
    assert made.dropped == 0


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(), max_size=9)
    | st.sampled_from(["\r\nX: y", "é"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NAMES = [*messages.envelope(), *json.loads(event()), "Event", "Service", "Token", "x"]


@given(
    st.sampled_from([messages.envelope(), json.loads(event()), json.loads(messages.TEST_EVENT)]),
    st.dictionaries(st.sampled_from(NAMES), json_values, max_size=3),
    st.sets(st.sampled_from(NAMES), max_size=2),
)
@run_with(max_examples=examples(5000), deadline=None)
def test_any_envelope_that_lies_is_opened_as_it_is_or_refused(
    fields: dict[str, Any], changed: dict[str, Any], removed: set[str]
) -> None:
    lying = {name: value for name, value in (fields | changed).items() if name not in removed}
    message = with_body(json.dumps(lying))
    unwrapped = unwrap(message)
    if isinstance(unwrapped, Failure):
        assert unwrapped.reason in (MALFORMED, CONFIRMATION, TEST_EVENT)
        return
    made = unwrapped.message
    inner = lying.get("Message")
    assert made.body == message.body or made.body == str(inner).encode() or b"detail" in message.body
    assert made._replace(body=b"", attributes=()) == message._replace(body=b"", attributes=())
    for name, value in unwrapped.headers:
        assert b"\r" not in name + (value or b"")
        assert b"\n" not in name + (value or b"")


@pytest.mark.parametrize("more", [0, 1])
def test_an_envelope_with_attributes_beyond_counting_is_refused(more: int) -> None:
    count = MOST_ATTRIBUTES + more
    made = sns(MessageAttributes={f"n{n}": {"Type": "String", "Value": "v"} for n in range(count)})
    if more:
        assert failed(made) == MALFORMED
    else:
        assert len(opened(made).message.attributes) >= count
