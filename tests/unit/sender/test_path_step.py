"""The step that lets a message choose its path, and the head that is rendered with it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.http.answer import Failure
from courier.http.url_parsing import read_url
from courier.message import Attribute, Message
from courier.recipient.content import PATH_NOT_ALLOWED
from courier.request.content import Content
from courier.request.head import DeliveryHead, HeadStyle, HeadTooLong
from courier.request.head_budget import LEAST_HEAD_BYTES, OMITTED
from courier.request.paths import LONGEST_PATH, AllowedPaths
from courier.sender.path_step import path_step
from tests.examples import examples

URL = read_url("http://recipient:8000/in/here?key=1")
STEP = path_step("path", AllowedPaths(["/jobs"]))


def message(**attributes: str) -> Message:
    named = tuple(Attribute(name, "String", value) for name, value in attributes.items())
    return Message("m1", "r", 9e9, 0.0, 1, 0, 0, "", "", "", named, b"body")


def made(sent: Message) -> Content | Failure:
    found = STEP(Content(sent), lambda _: None)
    assert isinstance(found, Content | Failure)
    return found


def head_of(content: Content, most_bytes: int = 8190) -> list[bytes]:
    head = DeliveryHead(URL, "orders", HeadStyle(most_bytes=most_bytes)).render_content(content)
    assert head.endswith(b"\r\n\r\n")
    assert len(head) <= most_bytes
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


def test_a_message_chooses_its_path_and_the_key_in_the_url_is_not_sent_along() -> None:
    content = made(message(path="/jobs/%6dail"))
    assert isinstance(content, Content)
    lines = head_of(content)
    assert lines[0] == b"POST /jobs/mail HTTP/1.1"
    assert not any(b"key=1" in line for line in lines)
    assert lines[1:] == head_of(Content(message(path="/jobs/%6dail")))[1:]


def test_a_message_without_the_attribute_goes_where_the_url_says() -> None:
    sent = message(other="/jobs")
    content = made(sent)
    assert content == Content(sent)
    assert head_of(Content(sent))[0] == b"POST /in/here?key=1 HTTP/1.1"


@pytest.mark.parametrize("path", ["/admin", "/jobs/../admin", "", "http://evil/jobs"])
def test_a_message_that_asks_for_another_path_is_refused_with_the_reason(path: str) -> None:
    failure = made(message(path=path))
    assert isinstance(failure, Failure)
    assert failure.reason == PATH_NOT_ALLOWED
    assert failure.detail.startswith("the attribute path: it ")


@given(st.text(max_size=30))
def test_any_path_is_below_the_prefix_or_refused(path: str) -> None:
    content = made(message(path=path))
    if isinstance(content, Content):
        assert head_of(content)[0].startswith((b"POST /jobs/", b"POST /jobs HTTP"))


@settings(max_examples=examples(300))
@given(
    st.integers(0, 4000),
    st.integers(0, 4000),
    st.integers(0, LONGEST_PATH),
    st.lists(st.integers(0, 900), max_size=4),
    st.integers(LEAST_HEAD_BYTES, 8190),
)
def test_a_head_is_short_enough_with_all_that_must_stay_or_refused(
    required: int, optional: int, path: int, attributes: list[int], most_bytes: int
) -> None:
    needed, other, target = b"ce-type: %b" % (b"t" * required), b"X-Other: %b" % (b"o" * optional), b"/" + b"p" * path
    sent = message(**{f"a{n}": "v" * size for n, size in enumerate(attributes)})
    content = Content(sent, other + b"\r\n", needed + b"\r\n", target)
    try:
        lines = head_of(content, most_bytes)
    except HeadTooLong:
        assert sum(map(len, head_of(Content(message())))) + len(needed) + path > most_bytes - 700
        return
    assert lines[0] == b"POST %b HTTP/1.1" % target
    assert needed in lines
    listed = next((line for line in lines if line.startswith(OMITTED.encode())), b"")
    named = [(b"X-Other", optional), *((f"X-Aws-Sqsd-Attr-a{n}".encode(), size) for n, size in enumerate(attributes))]
    for name, size in named:
        whole = [line for line in lines if line.startswith(name + b":")]
        assert len(whole) + (name in listed or b" more" in listed) >= 1, listed
        assert all(len(line) == len(name) + 2 + size for line in whole)


def test_a_head_that_the_operator_makes_too_long_is_not_the_fault_of_a_message() -> None:
    head = DeliveryHead(URL, "orders", HeadStyle(content_type="a/" + "b" * 2000, most_bytes=1024))
    content = made(message(path="/jobs"))
    assert isinstance(content, Content)
    assert head.render_content(content).startswith(b"POST /jobs ")
