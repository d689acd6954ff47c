"""CloudEvents in the binary mode of HTTP: what the official SDK reads is what the message said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.http.answer import Failure
from courier.http.url_parsing import read_url
from courier.message import Attribute, Message
from courier.recipient.content import NO_EVENT
from courier.request.cloudevents import EventTemplate, encode
from courier.request.content import Content
from courier.request.head import BARE, DeliveryHead, HeadStyle
from courier.request.header_templates import parse_header
from courier.sender.event_step import event_step
from tests.examples import examples

URL = read_url("http://recipient:8000/in")
EVENTS = HeadStyle("cloudevents")
TEXTS = {"source": "/sqs/{queue}", "type": "com.amazon.sqs.message", "subject": ""}
SENT_MS = 1_700_000_000_123
SENT_AT = datetime.fromtimestamp(SENT_MS // 1000, UTC).replace(microsecond=123_000)


def message(attributes: Mapping[str, str] = {}, body: bytes = b'{"a":1}', sent_ms: int = SENT_MS) -> Message:
    named = tuple(Attribute(name, "String", value) for name, value in attributes.items())
    return Message("m-1", "r", 9e9, 0.0, 1, sent_ms, sent_ms, "", "", "", named, body)


def head_of(
    sent: Message,
    texts: Mapping[str, str] = TEXTS,
    style: HeadStyle = EVENTS,
    type_attribute: str = "",
) -> tuple[dict[str, str], DeliveryHead] | Failure:
    """Return the headers of the request, each of which stands there once."""
    head = DeliveryHead(URL, "orders", style._replace(type_attribute="Content-Type"))
    own = [header.name for header in style.own]
    step = event_step(EventTemplate(texts, "orders", own, type_attribute))
    made = step(Content(sent), lambda _: None)
    if isinstance(made, Failure):
        return made
    assert isinstance(made, Content)
    lines = head.render_content(made).decode("ascii").removesuffix("\r\n\r\n").split("\r\n")[1:]
    headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
    assert len(headers) == len(lines), lines
    return headers, head


def event_of(sent: Message, *others: Any, **options: Any) -> BaseCloudEvent:
    found = head_of(sent, *others, **options)
    assert not isinstance(found, Failure), found
    event = from_binary_event(HTTPMessage(found[0], sent.body))
    assert isinstance(event, CloudEvent)
    return event


def test_any_message_is_an_event_of_what_sqs_knows() -> None:
    event = event_of(message())
    assert event.get_id() == "m-1"
    assert event.get_source() == "/sqs/orders"
    assert event.get_type() == "com.amazon.sqs.message"
    assert event.get_specversion() == "1.0"
    assert event.get_time() == SENT_AT
    assert event.get_subject() is None
    assert event.get_datacontenttype() == "application/octet-stream"


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents:", "cloudEvents_", "CE-"])
def test_the_attributes_of_the_event_come_from_those_of_the_message(prefix: str) -> None:
    given = {
        "id": "order 7",
        "source": "https://shop.example/orders",
        "type": "com.example.order.created",
        "subject": "Bestellung Nº 7 – 100 % “neu”",
        "time": "2018-04-05T17:31:00.5Z",
        "dataschema": "https://shop.example/schema",
        "datacontenttype": "application/json",
        "tenant": "acme",
        "specversion": "0.3",
    }
    event = event_of(message({prefix + name: value for name, value in given.items()}))
    found = dict(event.get_attributes())
    assert found.pop("time") == datetime(2018, 4, 5, 17, 31, 0, 500_000, UTC)
    del given["time"]
    assert found == {**given, "specversion": "1.0"}
    assert event.get_data() == {"a": 1}


def test_options_fill_what_the_message_lacks_with_what_it_has() -> None:
    texts = {
        "source": "urn:shop:{queue}",
        "type": "{attribute.kind}.v{attribute.version}",
        "subject": "{attribute.order}",
    }
    event = event_of(message({"kind": "order", "version": "2", "order": "ä 7", "ce-source": "/own"}), texts)
    assert (event.get_source(), event.get_type(), event.get_subject()) == ("/own", "order.v2", "ä 7")
    assert event_of(message({"kind": "o", "version": "1"}), texts).get_subject() is None


def test_a_message_without_what_every_event_must_have_is_refused_by_name() -> None:
    failure = head_of(message({"kind": "order"}), {**TEXTS, "type": "{attribute.kind}.v{attribute.version}"})
    assert isinstance(failure, Failure)
    assert failure.reason == NO_EVENT
    assert "ce-type" in failure.detail
    assert "--cloudevents-type" in failure.detail


def test_a_redriven_message_keeps_the_id_of_its_event() -> None:
    assert event_of(message({"Courier-Redrive-Of": "the-first-id"})).get_id() == "the-first-id"


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2018-04-05",
        "2018-04-05T17:31:00",
        "2018-13-05T17:31:00Z",
        "2018-04-05 17:31:00Z",
        "٢٠18-04-05T17:31:00Z",
    ],
)
def test_a_time_that_is_none_is_left_out_and_counted(text: str) -> None:
    found = head_of(message({"ce-time": text}))
    assert not isinstance(found, Failure)
    headers, head = found
    assert "ce-time" not in headers
    assert head.dropped == 1


@pytest.mark.parametrize("sent_ms", [0, 10**17])
def test_without_an_instant_of_sqs_there_is_no_time(sent_ms: int) -> None:
    found = head_of(message(sent_ms=sent_ms))
    assert not isinstance(found, Failure)
    assert "ce-time" not in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "application/cloudevents+json",
        "Application/CloudEvents-batch+json; x=y",
        " application/cloudevents",
        "no type",
        "a/b\r\nx: y",
    ],
)
@pytest.mark.parametrize("name", ["ce-datacontenttype", "kind"])
def test_no_message_makes_the_recipient_read_another_event_from_its_body(text: str, name: str) -> None:
    found = head_of(message({name: text}), type_attribute="kind")
    assert not isinstance(found, Failure)
    headers, head = found
    assert headers["content-type"] == "application/octet-stream"
    assert head.dropped == 1


def test_the_content_type_comes_from_the_event_then_from_the_attribute_of_the_option() -> None:
    def content_type(attributes: Mapping[str, str]) -> Any:
        return event_of(message(attributes, b"<a/>"), type_attribute="kind").get_datacontenttype()

    assert content_type({"ce-datacontenttype": "text/xml", "kind": "text/html"}) == "text/xml"
    assert content_type({"kind": "text/html"}) == "text/html"
    assert content_type({"Content-Type": "text/html"}) == "application/octet-stream"


def test_the_operator_s_own_header_replaces_that_of_the_event() -> None:
    style = HeadStyle("cloudevents", own=(parse_header("Ce-Type: fixed"), parse_header("ce-tenant: all")))
    event = event_of(message({"ce-type": "mine", "ce-tenant": "me"}), style=style)
    assert (event.get_type(), event.get_extension("tenant")) == ("fixed", "all")


@pytest.mark.parametrize("prefix", ["ce-", "ce_"])
def test_sent_bare_an_attribute_of_the_event_is_sent_once(prefix: str) -> None:
    style = HeadStyle("cloudevents", attributes=BARE)
    found = head_of(message({f"{prefix}type": "t", "order": "7"}), style=style)
    assert not isinstance(found, Failure)
    headers, _ = found
    assert headers["ce-type"] == "t"
    assert headers["order"] == "7"
    assert "ce_type" not in headers


def test_a_value_is_encoded_as_in_the_example_of_the_specification() -> None:
    assert encode("Euro € 😀") == "Euro%20%E2%82%AC%20%F0%9F%98%80"
    assert encode('a%b"c\r\n') == "a%25b%22c%0D%0A"
    assert encode("".join(map(chr, range(0x21, 0x7F)))) == "".join(map(chr, range(0x21, 0x7F))).replace(
        "%", "%25"
    ).replace('"', "%22")


NAMES = st.one_of(
    st.sampled_from(
        ["ce-id", "ce-source", "ce-type", "ce-subject", "ce-specversion", "ce-dataschema", "ce-data", "CE-ID"]
    ),
    st.from_regex(r"(ce[-_]|cloudEvents:)?[a-zA-Z0-9_.-]{1,12}", fullmatch=True),
)
VALUES = st.one_of(st.text(st.characters(codec="utf-8"), max_size=20), st.just(""), st.just("x" * 300))


@settings(max_examples=examples(500))
@given(st.dictionaries(NAMES, VALUES, max_size=10), st.booleans())
def test_the_sdk_reads_a_valid_event_of_any_message_with_the_values_that_it_has(
    attributes: dict[str, str], bare: bool
) -> None:
    style = HeadStyle("cloudevents", attributes=BARE if bare else "prefixed")
    event = event_of(message(attributes, b"data"), style=style)
    found = event.get_attributes()
    wanted: dict[str, str] = {}
    for name, value in attributes.items():
        lower = name.lower()
        start: Callable[[str], bool] = lower.startswith
        if value and (start(("ce-", "ce_", "cloudevents:", "cloudevents_"))):  # type: ignore[arg-type]
            short = (
                lower.removeprefix("ce-").removeprefix("ce_").removeprefix("cloudevents:").removeprefix("cloudevents_")
            )
            if short.isalnum() and short.isascii():
                wanted.setdefault(short, value)
    for name in ("data", "specversion", "datacontenttype", "time"):
        wanted.pop(name, None)
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["specversion"] == "1.0"
