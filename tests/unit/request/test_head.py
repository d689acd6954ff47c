"""The heads of deliveries: each set of headers, the operator's own, attributes, and what must never get into them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

import courier
from courier.http.url_parsing import read_url
from courier.message import LONGEST_ID, Attribute, Message
from courier.request.auth import Authentication
from courier.request.head import DeliveryHead, HeadStyle
from courier.request.head_budget import DEFAULT_HEAD_BYTES, OMITTED, fit, least_bytes, list_bytes, omitted_line
from courier.request.header_sets import SETS
from courier.request.header_templates import PLACEHOLDERS, parse_header
from courier.request.signing import parse_secrets

TARGET = read_url("http://example.com/in?a=%20b")
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
        "<orders, 7d1f9bb4, 7d1f9bb4, 3, 2014-10-21T11:01:05Z, 2014-10-21T11:01:06Z, AIDAEXAMPLE, g, AQEBx+/=, "
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
        Attribute("n" * 257, "String", "v"),
        Attribute("f", "String", "x"),
    )
    told = dict(pairs(head.render(MESSAGE._replace(attributes=bad, sender_id="a\rb"))))
    assert head.dropped == 5
    assert [name for name in told if "Attr" in name or "Sender" in name] == ["X-Aws-Sqsd-Attr-f"]


def test_the_receipt_is_hidden_in_answers_where_it_is_sent() -> None:
    for style, hidden in (
        (own("X-Receipt: {receipt}"), True),
        (own("X-Both: {message_id}/{receipt}"), True),
        (own(), False),
    ):
        head = DeliveryHead(TARGET, "orders", style)
        assert (MESSAGE.receipt not in head.mask_of(MESSAGE).text(f"no {MESSAGE.receipt}")) is hidden


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


def within(most_bytes: int = DEFAULT_HEAD_BYTES, **style: Any) -> HeadStyle:
    return HeadStyle(**style, most_bytes=most_bytes)


def test_a_head_that_fits_is_as_it_is_without_a_bound() -> None:
    message = MESSAGE._replace(attributes=attributes(a="x" * 7000), trace=TRACE, group="g")
    head = DeliveryHead(TARGET, "orders").render(message)
    assert len(head) > 7500
    assert head == DeliveryHead(TARGET, "orders", within(1 << 20)).render(message)
    exactly = DeliveryHead(TARGET, "orders", within(len(head)))
    assert exactly.render(message) == head
    assert exactly.dropped == 0
    less = DeliveryHead(TARGET, "orders", within(len(head) - 1))
    assert dict(pairs(less.render(message)))[OMITTED] == "X-Aws-Sqsd-Attr-a"
    assert less.dropped == 1


def test_attributes_are_left_out_first_the_longest_first_and_named_and_counted() -> None:
    given = attributes(a="x" * 9000, b="small", c="y" * 3000, d="z" * 4000, e="")
    head = DeliveryHead(TARGET, "orders")
    told = dict(pairs(head.render(MESSAGE._replace(attributes=given, trace="t" * 2000))))
    assert told[OMITTED] == "X-Aws-Sqsd-Attr-a, X-Aws-Sqsd-Attr-d"
    assert told["X-Aws-Sqsd-Attr-b"] == "small"
    assert told["X-Aws-Sqsd-Attr-c"] == "y" * 3000
    assert told["X-Amzn-Trace-Id"] == "t" * 2000
    assert head.dropped == 2


def test_what_every_request_needs_stays_whatever_else_has_to_go() -> None:
    own_headers = ("X-Tenant: {attribute.tenant}", "X-Receipt: {receipt}", "X-Id: {message_id}")
    style = within(1536, headers="courier", own=tuple(map(parse_header, own_headers)), type_attribute="tenant")
    head = DeliveryHead(TARGET, "orders", style, authentication())
    message = MESSAGE._replace(
        receipt="r" * 5000, group="g" * 5000, trace="t" * 70_000, attributes=attributes(tenant="a/" + "b" * 1000)
    )
    rendered = head.render(message)
    told = dict(pairs(rendered))
    assert len(rendered) <= 1536
    assert set(told) == {
        "Host",
        "Content-Length",
        "Content-Type",
        "User-Agent",
        "Accept",
        "Courier-Message-Id",
        "Courier-Queue",
        "Courier-Receive-Count",
        "Courier-First-Received-At",
        "Courier-Sent-At",
        "Courier-Sender-Id",
        "Idempotency-Key",
        "X-Id",
        "Authorization",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        OMITTED,
    }
    assert told["Content-Type"] == "application/octet-stream"
    assert told["Authorization"] == "Bearer secret"
    assert told[OMITTED] == (
        "Courier-Group, X-Amzn-Trace-Id, X-Tenant, X-Receipt, Courier-Attribute-tenant, Content-Type"
    )


def authentication() -> Authentication:
    class Token:
        value = b"Bearer secret"

        def refresh(self) -> None:
            return

    key = parse_secrets("whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    return Authentication(Token(), keys=key)  # type: ignore[arg-type]


def test_the_names_of_what_was_left_out_have_a_bound_of_their_own() -> None:
    given = tuple(Attribute(f"{'n' * 200}{n:02}", "String", "v" * 300) for n in range(99))
    head = DeliveryHead(TARGET, "orders")
    rendered = head.render(MESSAGE._replace(attributes=given))
    told = dict(pairs(rendered))
    assert len(rendered) <= DEFAULT_HEAD_BYTES
    names = told[OMITTED].split(", ")
    assert len(told[OMITTED]) <= list_bytes(DEFAULT_HEAD_BYTES)
    assert names[-1] == f"and {head.dropped - len(names) + 1} more"
    assert sum(name.startswith("X-Aws-Sqsd-Attr-") for name in told) == 99 - head.dropped


def test_a_list_of_names_that_are_all_too_long_is_their_number() -> None:
    assert omitted_line([b"n" * 600], 8190) == b"Courier-Omitted-Headers: 1\r\n"
    assert omitted_line([], 8190) == b""


def test_no_operators_header_may_have_the_name_of_that_list() -> None:
    with pytest.raises(ValueError, match="left out"):
        parse_header(f"{OMITTED}: x")


@given(st.lists(st.integers(0, 300), max_size=8), st.lists(st.integers(0, 300), max_size=8), st.integers(-10, 2000))
@run_with(deadline=None)
def test_what_is_left_out_is_the_longest_and_no_header_of_the_set_goes_for_an_attribute(
    headers: list[int], given_attributes: list[int], room: int
) -> None:
    lines = [b"h%d: %b\r\n" % (n, b"x" * size) for n, size in enumerate(headers)]
    others = [b"a%d: %b\r\n" % (n, b"x" * size) for n, size in enumerate(given_attributes)]
    fitted = fit(b"".join(lines), b"".join(others), room)
    kept = fitted.lines.splitlines(keepends=True)
    assert len(fitted.lines) <= max(0, room)
    # In the order in which they would have been sent, each in one of the two.
    assert sorted(kept, key=[*lines, *others].index) == kept
    left_out = [line for line in [*lines, *others] if line not in kept]
    assert [line.partition(b":")[0] for line in left_out] == fitted.omitted
    free = room - len(fitted.lines)
    assert all(len(line) > free for line in left_out)
    alone = fit(b"".join(lines), b"", room)
    assert [line for line in kept if line.startswith(b"h")] == alone.lines.splitlines(keepends=True)


@given(
    headers=st.sampled_from(list(SETS)),
    passed=st.sampled_from(["prefixed", "bare", "none"]),
    most_bytes=st.integers(1024, 20_000),
    given_attributes=st.lists(
        st.builds(
            Attribute,
            st.text("abc-._é", min_size=1, max_size=256),
            st.sampled_from(["String", "Number", "Binary.x", "String.custom"]),
            st.builds(str.__mul__, st.sampled_from(["x", "text/plain", "a/b", "é"]), st.integers(0, 3000)),
        ),
        max_size=30,
    ),
    sizes=st.fixed_dictionaries(
        dict.fromkeys(("receipt", "sender_id", "group", "trace"), st.integers(0, 100) | st.integers(0, 90_000))
    ),
    proof=st.booleans(),
    body=st.integers(0, 2_000),
)
@run_with(deadline=None)
def test_no_head_is_longer_than_its_bound_and_what_has_to_stay_stays(
    headers: str,
    passed: str,
    most_bytes: int,
    given_attributes: list[Attribute],
    sizes: dict[str, int],
    proof: bool,
    body: int,
) -> None:
    own_headers = (parse_header("X-Own: {receipt} {group} {attribute.a}"), parse_header("X-Tenant: {attribute.a}"))
    style = within(most_bytes, headers=headers, own=own_headers, attributes=passed, type_attribute="a")
    head = DeliveryHead(TARGET, "orders", style, authentication() if proof else None)
    if least_bytes(head.fixed_bytes()) > most_bytes:
        return
    message = MESSAGE._replace(
        message_id="m" * LONGEST_ID,
        attributes=tuple(given_attributes),
        body=bytes(body),
        **cast("Any", {name: "x" * size for name, size in sizes.items()}),
    )
    rendered = head.render(message)
    assert len(rendered) <= most_bytes
    told = pairs(rendered)
    names = [name.lower() for name, _ in told]
    for needed in ("host", "content-length", "content-type", *(("authorization", "webhook-signature") * proof)):
        assert names.count(needed) == 1
    assert ("m" * LONGEST_ID in dict(told).values()) or headers == "none"
    listed = dict(told).get(OMITTED, "")
    unbounded = DeliveryHead(TARGET, "orders", style._replace(most_bytes=1 << 30), authentication() if proof else None)
    whole = unbounded.render(message)
    replaced = dict(pairs(whole))["Content-Type"] != dict(told)["Content-Type"]
    assert head.dropped - unbounded.dropped == len(pairs(whole)) - len(told) + bool(listed) + replaced
    assert bool(listed) == (len(whole) > most_bytes)
