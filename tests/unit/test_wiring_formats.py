"""Any message through any options of paths, headers and tasks: one sound request to an allowed path, or one reason."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from courier.config.config import Config
from courier.http.answer import Answer, Failure
from courier.http.exchange import Exchange
from courier.message import Attribute, Message
from courier.recipient.content import UNSENDABLE
from courier.request.header_sets import SETS
from courier.request.header_templates import parse_header
from courier.request.tasks import BODY
from courier.sender.slots import HeldPacket
from courier.wiring.preparation import preparation_factory
from courier.wiring.recipient import delivery_head
from tests.examples import examples

CRON = "version: 1\ncron:\n - {name: nightly, url: /tasks/nightly, schedule: '@daily'}\n"


class Session:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []

    def send(self, head: bytes, body: Any, done: Any, timeout: float | None = None) -> Exchange:
        self.sent.append((head, body))
        return Exchange(head, b"", done, 0.0, 0.0)

    def connect(self, done: Any) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


class Deliverer:
    """Notes the results."""

    def __init__(self) -> None:
        self.results: list[Answer | Failure] = []

    def conclude(self, packet: HeldPacket, answer: Answer | Failure) -> None:
        self.results.append(answer)

    def next_message(self, packet: HeldPacket) -> None:
        raise AssertionError

    def drop_lapsed(self, packet: HeldPacket) -> None:
        raise AssertionError("its lease holds")

    def break_off(self, packet: HeldPacket) -> None:
        raise AssertionError

    def post_later(self, packet: HeldPacket, seconds: float) -> None:
        raise AssertionError


TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        "/jobs/a",
        "/jobs",
        "/tasks/nightly",
        "/tasks/other",
        "/admin",
        "//evil",
        "/jobs/../x",
        "2024-01-01 00:00:00 UTC",
        "é" * 300,
    ]
)
NAMES = st.sampled_from(
    [
        *("beanstalk.sqsd.path", "beanstalk.sqsd.task_name", "beanstalk.sqsd.scheduled_time", "path", "kind", "Host"),
        *("ce-type", "ce_source", "CE-ID", "ce-time", "ce-datacontenttype", "ce-data", "ce-.", "ce.id", "Content-Type"),
    ]
)
ATTRIBUTES = st.lists(
    st.builds(Attribute, NAMES, st.sampled_from(["String", "Number", "Binary", "String.x"]), TEXTS),
    max_size=6,
    unique_by=lambda attribute: attribute.name,
).map(tuple)
MESSAGES = st.builds(
    Message,
    message_id=st.just("m1"),
    receipt=st.just("r"),
    lease=st.just(9e9),
    received_at=st.just(0.0),
    receive_count=st.integers(1, 9),
    sent_ms=st.sampled_from([0, 1, 1_700_000_000_123]),
    first_received_ms=st.just(1),
    sender_id=st.just("s"),
    group=st.sampled_from(["", "g"]),
    trace=st.just(""),
    attributes=ATTRIBUTES,
    body=st.sampled_from([b"", BODY, b'{"a":1}', b"\xff"]),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "headers": st.sampled_from(sorted(SETS)),
        "path_attribute": st.sampled_from(["beanstalk.sqsd.path"]),
        "path_allow": st.sampled_from([("/jobs",), ("/jobs", "/tasks/other")]),
        "cron": st.just(True),
        "attribute_headers": st.sampled_from(["bare", "prefixed", "none"]),
        "cloudevents_type": st.sampled_from(["t", "{attribute.kind}"]),
        "cloudevents_subject": st.sampled_from(["", "{group}", "{attribute.path}"]),
        "content_type_attribute": st.sampled_from(["kind", "Content-Type"]),
        "max_header_bytes": st.sampled_from([1024, 8190]),
        "header": st.sampled_from([(), (parse_header("ce-type: own"), parse_header("X-Aws-Sqsd-Path: own"))]),
    },
)


@settings(max_examples=examples(1000), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPTIONS, MESSAGES)
def test_a_message_becomes_one_sound_request_below_what_is_allowed_or_one_reason(
    tmp_path: Path, options: dict[str, Any], message: Message
) -> None:
    if "cron" in options:
        options["cron"] = tmp_path / "cron.yaml"
        options["cron"].write_text(CRON)
    elif "path_attribute" not in options or "path_allow" not in options:
        options.pop("path_attribute", None)
        options.pop("path_allow", None)
    if "path_attribute" in options and "path_allow" not in options:
        options["path_allow"] = ("/jobs",)
    config = Config(queue="orders", recipient_url="http://recipient:8000/in?key=1", **options)
    factory = preparation_factory(config, "orders")
    head, session, deliverer = delivery_head(config, "orders"), Session(), Deliverer()
    if factory is None:
        return
    packet = HeldPacket([message], deliverer)

    async def send() -> None:
        packet.exchange = factory(asyncio.get_running_loop(), session, head).send(packet)
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(send())
    assert len(session.sent) + len(deliverer.results) == 1
    if deliverer.results:
        (failure,) = deliverer.results
        assert isinstance(failure, Failure)
        assert failure.reason in UNSENDABLE
        assert failure.detail.isprintable()
        return
    ((sent, body),) = session.sent
    assert len(sent) <= config.max_header_bytes
    start, *lines = sent.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    _, path, _ = start.split(" ")
    allowed = [f"{prefix}/" for prefix in config.path_allow]
    assert path == "/in?key=1" or (path == "/tasks/nightly" and config.cron) or f"{path}/".startswith(tuple(allowed))
    names = [line.partition(": ")[0].lower() for line in lines]
    assert len(set(names)) == len(names), names
    assert [line for line in lines if line.startswith("Host: ")] == ["Host: recipient:8000"]
    assert f"Content-Length: {len(body)}" in lines
    assert body in (message.body, b"")
    assert body == message.body or message.body == BODY
    if config.headers == "cloudevents":
        assert {"ce-specversion", "ce-id", "ce-source", "ce-type"} <= set(names)
        assert not any(line.lower().startswith("content-type: application/cloudevents") for line in lines)
