"""The heads of deliveries: each set of headers, the operator's own, attributes, and what must never get into them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import courier
from courier.http.delivery_head import DeliveryHead, HeadStyle
from courier.http.head_layout import MAX_VALUE_BYTES
from courier.http.header_sets import SETS
from courier.http.header_templates import PLACEHOLDERS, parse_header
from courier.http.target import parse_target
from courier.message import Attribute, Message

TARGET = parse_target("http://example.com/in?a=%20b")
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
TRACEPARENT = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"

MESSAGE = Message(
    message_id="7d1f9bb4",
    receipt="AQEBx+/=",
    lease=1.0,
    received_at=0.0,
    receive_count=3,
    sent_ms=1_413_889_265_999,
    first_received_ms=1_413_889_266_001,
    sender_id="AIDAEXAMPLE",
    group="",
    trace="",
    attributes=(),
    body=b"hello",
)

CONNECTION = {"Host": "example.com", "Content-Length": "5", "Accept": "*/*"}
BYTES = {"Content-Type": "application/octet-stream"}


def own(*texts: str, headers: str = "none", attributes: str = "prefixed") -> HeadStyle:
    return HeadStyle(headers=headers, own=tuple(map(parse_header, texts)), attributes=attributes)


def attributes(**values: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(name.replace("_", "-"), "String", value) for name, value in values.items())


def pairs(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("ascii").split("\r\n")
    assert lines[0] == "POST /in?a=%20b HTTP/1.1"
    assert lines[-2:] == ["", ""]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:-2])]


def fields(message: Message = MESSAGE, style: HeadStyle = HeadStyle(), queue: str = "orders") -> dict[str, str]:  # noqa: B008
    told = pairs(DeliveryHead(TARGET, queue, style).render(message))
    assert not [name for name, count in Counter(name.lower() for name, _ in told).items() if count > 1]
    return dict(told)


def test_the_headers_of_a_delivery_are_those_of_aws_sqsd() -> None:
    assert fields() == {
        **CONNECTION,
        **BYTES,
        "User-Agent": "aws-sqsd/2.4",
        "X-Aws-Sqsd-Msgid": "7d1f9bb4",
        "X-Aws-Sqsd-Queue": "orders",
        "X-Aws-Sqsd-Receive-Count": "3",
        "X-Aws-Sqsd-First-Received-At": "2014-10-21T11:01:06Z",
        "X-Aws-Sqsd-Sent-At": "2014-10-21T11:01:05Z",
        "X-Aws-Sqsd-Sender-Id": "AIDAEXAMPLE",
        "Idempotency-Key": "7d1f9bb4",
    }


def test_couriers_own_headers_tell_the_same_and_the_group() -> None:
    assert fields(MESSAGE._replace(group="g 1"), HeadStyle("courier")) == {
        **CONNECTION,
        **BYTES,
        "User-Agent": f"courier/{courier.__version__}",
        "Courier-Message-Id": "7d1f9bb4",
        "Courier-Queue": "orders",
        "Courier-Receive-Count": "3",
        "Courier-First-Received-At": "2014-10-21T11:01:06Z",
        "Courier-Sent-At": "2014-10-21T11:01:05Z",
        "Courier-Sender-Id": "AIDAEXAMPLE",
        "Courier-Group": "g 1",
        "Idempotency-Key": "7d1f9bb4",
    }


def test_with_no_headers_nothing_is_told_of_the_message() -> None:
    told = MESSAGE._replace(group="g", trace=TRACE, attributes=attributes(color="blue"))
    assert fields(told, HeadStyle("none")) == {
        **CONNECTION,
        **BYTES,
        "User-Agent": f"courier/{courier.__version__}",
    }


def test_a_header_whose_value_the_message_lacks_is_left_out_and_not_counted() -> None:
    head = DeliveryHead(TARGET, "orders", own("X-Group: {group}", "X-Both: {group} {sender_id}", "X-A: {attribute.a}"))
    assert not {"X-Group", "X-Both", "X-A"} & dict(pairs(head.render(MESSAGE))).keys()
    assert head.dropped == 0


def test_every_placeholder_is_filled() -> None:
    message = MESSAGE._replace(group="g", trace=TRACE, attributes=attributes(tenant="t1"))
    every = ", ".join(f"{{{name}}}" for name in (*PLACEHOLDERS, "attribute.tenant"))
    assert fields(message, own(f"X-All: <{every}> 100%"))["X-All"] == (
        "<orders, 7d1f9bb4, 3, 2014-10-21T11:01:05Z, 2014-10-21T11:01:06Z, AIDAEXAMPLE, g, AQEBx+/=, "
        f"{TRACE}, {TRACEPARENT}, t1> 100%"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("X: {queue}", "orders"),
        ("X:{message_id}/{receive_count}", "7d1f9bb4/3"),
        ("X: 100% {message_id} %d", "100% 7d1f9bb4 %d"),
        ("X: {{{sender_id}}}", "{AIDAEXAMPLE}"),
        ("X: fixed", "fixed"),
        ("X:  {sender_id}-{receive_count} \t", "AIDAEXAMPLE-3"),
        ("X%Y: 5% {message_id}", "5% 7d1f9bb4"),
    ],
)
def test_a_template_is_filled_and_its_text_kept(text: str, value: str) -> None:
    assert fields(MESSAGE, own(text))[text.partition(":")[0]] == value


@pytest.mark.parametrize("headers", list(SETS))
def test_an_own_header_takes_the_place_of_one_of_the_set(headers: str) -> None:
    told = fields(MESSAGE, own("user-agent: mine", "IDEMPOTENCY-KEY: {queue}-{message_id}", headers=headers))
    assert told["user-agent"] == "mine"
    assert told["IDEMPOTENCY-KEY"] == "orders-7d1f9bb4"


def test_text_and_number_attributes_become_headers_and_binary_and_reserved_ones_do_not() -> None:
    told = fields(
        MESSAGE._replace(
            attributes=(
                Attribute("color", "String", "blue"),
                Attribute("size", "Number.int", "7"),
                Attribute("raw", "Binary.png", "AAEC"),
                Attribute("beanstalk.sqsd.path", "String", "/x"),
            )
        )
    )
    assert {name: value for name, value in told.items() if "Attr" in name} == {
        "X-Aws-Sqsd-Attr-color": "blue",
        "X-Aws-Sqsd-Attr-size": "7",
    }


def test_attributes_follow_under_the_prefix_of_the_set_or_by_their_own_names_or_not_at_all() -> None:
    message = MESSAGE._replace(attributes=attributes(color="blue"))
    assert fields(message, HeadStyle("courier"))["Courier-Attribute-color"] == "blue"
    for headers in SETS:
        assert fields(message, HeadStyle(headers, attributes="bare"))["color"] == "blue"
        assert "blue" not in fields(message, HeadStyle(headers, attributes="none")).values()


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Content_Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Authorization",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Proxy",
        "Cookie",
        "Content-Type",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Original-URL",
        "X_Rewrite_URL",
        "X-HTTP-Method",
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "X-Amzn-Oidc-Identity",
        "User-Agent",
        "Accept",
        "Idempotency-Key",
        "Webhook-Signature",
        "X-Aws-Sqsd-Msgid",
        "x_aws_sqsd_msgid",
        "Courier-Message-Id",
        "X-Mine",
        "x_mine",
    ],
)
def test_a_bare_attribute_can_forge_nothing(name: str) -> None:
    style = own("X-Mine: 1", headers="sqsd", attributes="bare")
    head = DeliveryHead(TARGET, "orders", style)
    message = MESSAGE._replace(attributes=(Attribute(name, "String", "forged"),))
    assert "forged" not in dict(pairs(head.render(message))).values()
    assert head.dropped == 1


def test_what_cannot_be_a_header_is_dropped_and_counted() -> None:
    head = DeliveryHead(TARGET, "orders")
    bad = (
        Attribute("a", "String", "line\nbreak"),
        Attribute("b", "String", "é"),
        Attribute("c d", "String", "v"),
        Attribute("e", "String", "x" * (MAX_VALUE_BYTES + 1)),
        Attribute("f", "String", "x" * MAX_VALUE_BYTES),
    )
    told = dict(pairs(head.render(MESSAGE._replace(attributes=bad, sender_id="a\rb"))))
    assert head.dropped == 5
    assert [name for name in told if "Attr" in name or "Sender" in name] == ["X-Aws-Sqsd-Attr-f"]


def test_the_receipt_is_sent_where_it_is_asked_for() -> None:
    assert MESSAGE.receipt not in fields().values()
    assert fields(MESSAGE, own("X-Receipt: {receipt}"))["X-Receipt"] == MESSAGE.receipt


def test_the_content_type_is_the_one_given_or_that_of_an_attribute() -> None:
    style = HeadStyle(content_type="text/plain", type_attribute="type")
    head = DeliveryHead(TARGET, "orders", style)

    def content_type(value: str | None) -> str:
        given = attributes(type=value) if value is not None else ()
        return dict(pairs(head.render(MESSAGE._replace(attributes=given))))["Content-Type"]

    assert content_type("application/json; charset=utf-8") == "application/json; charset=utf-8"
    assert content_type(None) == "text/plain"
    assert head.dropped == 0
    for bad in ("json", "a/b\r\nX: y", "text/plain; charset", "é/é"):
        assert content_type(bad) == "text/plain"
    assert fields(MESSAGE, HeadStyle(content_type="application/json"))["Content-Type"] == "application/json"


def test_a_bare_attribute_that_is_the_content_type_is_sent_once() -> None:
    message = MESSAGE._replace(attributes=(Attribute("Content-Type", "String", "text/csv"),))
    head = DeliveryHead(TARGET, "orders", HeadStyle(attributes="bare", type_attribute="Content-Type"))
    assert [value for name, value in pairs(head.render(message)) if name.lower() == "content-type"] == ["text/csv"]
    assert head.dropped == 0


@pytest.mark.parametrize("headers", ["sqsd", "courier"])
def test_a_trace_goes_on_in_both_forms(headers: str) -> None:
    told = fields(MESSAGE._replace(trace=TRACE), HeadStyle(headers))
    assert (told["X-Amzn-Trace-Id"], told["traceparent"]) == (TRACE, TRACEPARENT)
    told = fields(MESSAGE._replace(trace="Root=1-5759e988-bd862e3fe1be46a994272793"), HeadStyle(headers))
    assert told["X-Amzn-Trace-Id"] == "Root=1-5759e988-bd862e3fe1be46a994272793"
    assert "traceparent" not in told


def test_a_trace_in_an_attribute_is_passed_on_only_where_sqs_tells_none() -> None:
    message = MESSAGE._replace(attributes=attributes(traceparent="from-the-attribute"))
    style = HeadStyle(attributes="bare")
    assert fields(message, style)["traceparent"] == "from-the-attribute"
    assert fields(message._replace(trace=TRACE), style)["traceparent"] == TRACEPARENT
    assert fields(message, own("traceparent: mine", attributes="bare"))["traceparent"] == "mine"


def test_an_instant_that_is_none_costs_no_delivery() -> None:
    assert fields(MESSAGE._replace(sent_ms=10**30))["X-Aws-Sqsd-Sent-At"] == ""


texts = st.text(max_size=30) | st.sampled_from(["a\r\nX: y", "\n", "\0", "Host", "Content-Length", "Transfer-Encoding"])


@given(
    headers=st.sampled_from(list(SETS)),
    attributes=st.sampled_from(["prefixed", "bare", "none"]),
    given_attributes=st.lists(st.builds(Attribute, texts, st.sampled_from(["String", "Binary", "Number"]), texts)),
    values=st.fixed_dictionaries(dict.fromkeys(("message_id", "receipt", "sender_id", "group", "trace"), texts)),
    queue=st.text(st.characters(codec="ascii"), max_size=20),
)
def test_nothing_that_cannot_be_a_header_reaches_the_wire(
    headers: str, attributes: str, given_attributes: list[Attribute], values: dict[str, Any], queue: str
) -> None:
    style = HeadStyle(
        headers,
        (parse_header("X-Own: {receipt} {group} {attribute.a} %"), parse_header("X-Q: {queue}")),
        attributes,
        type_attribute="a",
    )
    message = MESSAGE._replace(**values, attributes=tuple(given_attributes))
    head = DeliveryHead(TARGET, queue, style).render(message)
    assert head.endswith(b"\r\n\r\n")
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert lines[0] == b"POST /in?a=%20b HTTP/1.1"
    for line in lines[1:]:
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e]*", line), line
    names = Counter(line.partition(b":")[0].lower() for line in lines[1:])
    for once in (b"host", b"content-length", b"content-type", b"x-own"):
        assert names[once] <= 1
    assert not names.keys() & {b"transfer-encoding", b"connection"}
