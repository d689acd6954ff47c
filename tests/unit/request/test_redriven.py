"""A message that was redriven: its recipient and its record know it by the id that it had at first."""

from __future__ import annotations

import base64
import hmac

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.record import recorder
from courier.http.url_parsing import read_url
from courier.message import LONGEST_ID, REDRIVE_OF, Attribute, Message, redrive_of
from courier.request.auth import Authentication
from courier.request.head import DeliveryHead, HeadStyle
from courier.request.header_templates import parse_header
from courier.request.signing import parse_secrets

URL = read_url("http://recipient.test/hook")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def redriven(value: str = "first", data_type: str = "String", body: bytes = b"body") -> Message:
    mine = Attribute(REDRIVE_OF, data_type, value)
    return Message("copy", "r", 0.0, 0.0, 1, 0, 0, "", "", "", (Attribute("a", "String", "b"), mine), body)


def headers(head: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])


@pytest.mark.parametrize("kind", ["sqsd", "courier"])
def test_a_repeat_has_the_idempotency_key_of_the_first_delivery_and_its_own_message_id(kind: str) -> None:
    style = HeadStyle(kind, own=(parse_header("X-Ids: {message_id} {original_id}"),))
    told = headers(DeliveryHead(URL, "orders", style).render(redriven()))
    assert told["Idempotency-Key"] == "first"
    assert told["X-Ids"] == "copy first"
    assert "copy" in (told.get("X-Aws-Sqsd-Msgid"), told.get("Courier-Message-Id"))


def test_the_signature_of_a_repeat_is_about_the_first_id() -> None:
    head = DeliveryHead(URL, "orders", HeadStyle(), Authentication(None, [], parse_secrets(SECRET)))
    told = headers(head.render(redriven()))
    assert told["webhook-id"] == "first"
    content = f"first.{told['webhook-timestamp']}.body".encode()
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert told["webhook-signature"] == f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}"


def test_the_attribute_is_no_header_of_its_own_where_attributes_are_bare_and_nothing_counts_as_dropped() -> None:
    head = DeliveryHead(URL, "orders", HeadStyle(attributes="bare"))
    told = headers(head.render(redriven()))
    assert REDRIVE_OF not in told
    assert told["a"] == "b"
    assert head.dropped == 0


@given(st.text(max_size=200), st.sampled_from(["String", "Binary", "Number", "String.id"]))
def test_what_is_no_id_of_a_message_changes_nothing(value: str, data_type: str) -> None:
    message = redriven(value, data_type)
    known = redrive_of(message.attributes)
    is_id = 0 < len(value) <= LONGEST_ID and value.isascii() and value.isprintable() and " " not in value
    assert known == (value if is_id and data_type == "String" else "")
    head = DeliveryHead(URL, "orders", HeadStyle(attributes="none")).render(message)
    assert headers(head)["Idempotency-Key"] == (known or "copy")


@pytest.mark.parametrize("body", ["full", "sha256", "none"])
def test_the_record_of_a_repeat_names_the_first_id(body: str) -> None:
    fields = orjson.loads(recorder("json", body)(redriven(), "delivered", 200, 0.1, 1.0))
    assert (fields["message_id"], fields["redrive_of"]) == ("copy", "first")
    plain = redriven()._replace(attributes=(Attribute("a", "String", "b"),))
    assert "redrive_of" not in orjson.loads(recorder("json", body)(plain, "delivered", 200, 0.1, 1.0))
