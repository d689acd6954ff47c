"""Any message of any shape through any chain: one request to the letter of HTTP, or one reason why there is none."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pytest
import uvloop
from backports import zstd
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.body.names import CODINGS
from courier.config.config import Config
from courier.fetch.pointer import CLASSES, BucketPrefix
from courier.http.answer import Answer, Failure
from courier.message import Attribute, Message
from courier.recipient.content import NOT_FETCHED, UNSENDABLE
from courier.recipient.policy import DEFAULT_RULES, Backoff, Delivered, Rejected, Retry, judge
from courier.request.content import Content
from courier.request.header_templates import parse_header
from courier.wiring.preparation import preparation_factory
from courier.wiring.recipient import delivery_head
from tests.examples import examples
from tests.unit.body import messages
from tests.unit.stage import FakeTransport, message
from tests.waiting import until

PATH = "beanstalk.sqsd.path"

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["a\r\nX: y", "../..", "/jobs/../x", "/jobs//x", "/jobs/%2f", "//evil.test", "/jobs/x", "gzip", "zstd,base64", "é"]
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=5,
)
pointers = st.builds(
    lambda name, bucket, key: json.dumps([name, {"s3BucketName": bucket, "s3Key": key}]),
    st.sampled_from([*CLASSES, "x"]),
    any_text | json_values,
    any_text | json_values,
)
plain = any_text | pointers | json_values.map(json.dumps) | st.just(messages.TEST_EVENT)


@st.composite
def envelopes(draw: st.DrawFn) -> str:
    """Write an envelope of SNS or EventBridge around something, with what is wrong with it."""
    inner = draw(plain)
    if draw(st.booleans()):
        return messages.event(json.dumps(inner))
    fields = messages.envelope(inner)
    fields["MessageAttributes"] = draw(json_values) if draw(st.booleans()) else attribute_members(draw(attributes))
    for name in draw(st.sets(st.sampled_from(list(fields)), max_size=2)):
        fields[name] = draw(json_values)
    return json.dumps(fields)


def attribute_members(given: tuple[Attribute, ...]) -> dict[str, Any]:
    return {name: {"Type": data_type, "Value": value} for name, data_type, value in given}


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "base64": base64.b64encode,
}


SUBJECT = "X-Amz-Sns-Subject"
names = st.sampled_from(["Content-Encoding", PATH, "ExtendedPayloadSize", "ce-id", "ce-type", "Host", "a", SUBJECT])
attribute = st.builds(Attribute, names | any_text, st.sampled_from(["String", "Number", "Binary.x"]), any_text)
attributes = st.lists(attribute, max_size=4, unique_by=lambda each: each.name).map(tuple)


@st.composite
def any_message(draw: st.DrawFn) -> Message:
    """Draw a message: its body is text, an envelope, a pointer, or one of these encoded, or no text at all."""
    body = draw(st.binary(max_size=40) | (plain | envelopes()).map(lambda text: text.encode("utf-8", "replace")))
    given = draw(attributes)
    codings = draw(st.lists(st.sampled_from(CODINGS), max_size=2))
    for coding in codings:
        body = ENCODERS[coding](body)
    if codings:
        named = Attribute("Content-Encoding", "String", ", ".join(codings))
        given = (*(each for each in given if each.name != named.name), named)
    cut = draw(st.sampled_from([None, None, None, -1, 10]))
    return message("m", body=body[:cut])._replace(attributes=given, group=draw(st.sampled_from(["", "g", "é"])))


@st.composite
def any_config(draw: st.DrawFn) -> Config:
    """Draw the options that change what is sent."""
    steps = [step for step in ("unwrap", "fetch", "decode") if draw(st.booleans())]
    style = draw(st.sampled_from(["prefixed", "bare", "none"]))
    given: dict[str, Any] = {"body": ",".join(steps), "attribute_headers": style}
    if "unwrap" in steps and draw(st.integers(0, 3)) == 0:
        # Nobody listens there: what is signed is tried again, and nothing in these messages is.
        given |= {"sns_verify": True, "sns_topic": (messages.TOPIC,), "sns_endpoint_url": "http://127.0.0.1:9"}
    if "fetch" in steps:
        given["fetch_bucket"] = (BucketPrefix("none", "never/"),)
    if "decode" in steps:
        given["decode"] = draw(st.sampled_from(["attribute", "attribute", "gzip", "base64,zstd"]))
        given["body_max_bytes"] = draw(st.sampled_from([1024, 1 << 24]))
    if draw(st.booleans()):
        given |= {"path_attribute": PATH, "path_allow": draw(st.sampled_from([("/jobs",), ("/",)]))}
    given["headers"] = draw(st.sampled_from(["sqsd", "courier", "none", "cloudevents"]))
    if draw(st.booleans()):
        given["header"] = (parse_header("X-Amz-Sns-Subject: {attribute.a}"),)
    if style == "bare" and draw(st.booleans()):
        given["attribute_allow"] = (SUBJECT,)
    given["max_header_bytes"] = draw(st.sampled_from([2048, 8190]))
    return Config(queue="queue", recipient_url="http://recipient.test/in", **given)


class Packet:
    """The part of a packet that an attempt needs."""

    def __init__(self, sent: Message) -> None:
        self.content: Content | None = None
        self.message = sent
        self.answers: list[Answer | Failure] = []
        self.answered = self.answers.append

    def ends_lapsed(self) -> bool:
        return False

    def break_off(self) -> None:
        raise AssertionError("a bug")


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@given(any_config(), any_message())
@run_with(max_examples=examples(1500), deadline=None)
def test_any_message_through_any_chain_is_sent_to_the_letter_of_http_or_has_a_reason(
    runner: asyncio.Runner, config: Config, sent: Message
) -> None:
    runner.run(through(config, sent))


async def through(config: Config, sent: Message) -> None:
    make = preparation_factory(config, "queue", region="us-east-1")
    transport, packet = FakeTransport(), Packet(sent)
    if make is None:
        return
    head = delivery_head(config, "queue")
    make(asyncio.get_running_loop(), transport, head).send(packet)  # type: ignore[arg-type]
    await until(lambda: packet.answers or transport.posts)
    await asyncio.sleep(0)
    assert len(packet.answers) + len(transport.posts) == 1
    if transport.posts:
        (post,) = transport.posts
        strictly_read(post.head, post.body, config)
        outcome = judge(Answer(200, [], b"", False, True, 0.0, 0.0), 1, DEFAULT_RULES, Backoff(1.0, 9.0), 0.5, 0.0)
        assert isinstance(outcome, Delivered)
        return
    (failure,) = packet.answers
    assert isinstance(failure, Failure)
    outcome = judge(failure, 1, DEFAULT_RULES, Backoff(1.0, 9.0), 0.5, 0.0)
    if failure.reason in UNSENDABLE:
        assert outcome == Rejected(failure.reason, None)
    else:
        assert failure.reason in NOT_FETCHED
        assert isinstance(outcome, Retry)
        assert not outcome.fault
    assert failure.detail


def strictly_read(head: bytes, body: Any, config: Config) -> None:
    """Read a head by the letter of RFC 9112, and hold it against what the operator allows."""
    assert len(head) <= config.max_header_bytes
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    found = [name for name, _ in request.headers]
    values = dict(request.headers)
    for once in (b"host", b"content-length", b"content-type", b"x-amz-sns-subject"):
        assert found.count(once) <= 1, once
    assert values[b"host"] == b"recipient.test"
    assert int(values[b"content-length"]) == len(body)
    target = request.target.decode()
    if config.path_attribute:
        prefixes = [prefix.rstrip("/") + "/" for prefix in config.path_allow]
        assert target == "/in" or any(map((target + "/").startswith, prefixes))
        assert not any(each in target for each in ("..", "//", "?", "#", "\\"))
    else:
        assert target == "/in"
