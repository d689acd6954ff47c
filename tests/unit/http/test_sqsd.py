"""The header lines of a delivery, by aws-sqsd's table, and what must never get into them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.http.sqsd import DeliveryHeaders
from courier.message import Attribute, Message

MESSAGE = Message(
    message_id="7d1f9bb4",
    receipt="r",
    lease=1.0,
    received_at=0.0,
    receive_count=3,
    sent_ms=1_413_889_265_999,
    first_received_ms=1_413_889_266_001,
    sender_id="AIDAEXAMPLE",
    group="",
    trace="",
    attributes=(),
    body=b"",
)


def fields(message: Message) -> dict[str, str]:
    lines = DeliveryHeaders("orders").lines(message).decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def test_the_headers_of_a_delivery_are_those_of_aws_sqsd() -> None:
    assert fields(MESSAGE) == {
        "X-Aws-Sqsd-Msgid": "7d1f9bb4",
        "X-Aws-Sqsd-Queue": "orders",
        "X-Aws-Sqsd-Receive-Count": "3",
        "X-Aws-Sqsd-First-Received-At": "2014-10-21T11:01:06Z",
        "X-Aws-Sqsd-Sent-At": "2014-10-21T11:01:05Z",
        "X-Aws-Sqsd-Sender-Id": "AIDAEXAMPLE",
    }


def test_text_and_number_attributes_become_headers_and_binary_and_reserved_ones_do_not() -> None:
    attributes = (
        Attribute("color", "String", "blue"),
        Attribute("size", "Number.int", "7"),
        Attribute("raw", "Binary.png", "AAEC"),
        Attribute("beanstalk.sqsd.path", "String", "/x"),
    )
    names = {
        name.removeprefix("X-Aws-Sqsd-Attr-"): v for name, v in fields(MESSAGE._replace(attributes=attributes)).items()
    }
    assert names["color"] == "blue"
    assert names["size"] == "7"
    assert not {"raw", "beanstalk.sqsd.path"} & names.keys()


@given(name=st.text(max_size=20), value=st.text(max_size=40), sender=st.text(max_size=20))
def test_whatever_an_attribute_holds_the_lines_stay_whole(name: str, value: str, sender: str) -> None:
    headers = DeliveryHeaders("orders")
    message = MESSAGE._replace(attributes=(Attribute(name, "String", value),), sender_id=sender)
    lines = headers.lines(message)
    assert lines.endswith(b"\r\n")
    for line in lines.removesuffix(b"\r\n").split(b"\r\n"):
        assert line.startswith(b"X-Aws-Sqsd-")
        assert line.isascii()
        assert b"\n" not in line
        assert b"\r" not in line
        assert b"\0" not in line


def test_what_cannot_be_a_header_is_dropped_and_counted() -> None:
    headers = DeliveryHeaders("orders")
    bad = (Attribute("a", "String", "line\nbreak"), Attribute("b", "String", "é"), Attribute("c d", "String", "v"))
    lines = headers.lines(MESSAGE._replace(attributes=bad))
    assert headers.dropped == 3
    assert b"Attr" not in lines
