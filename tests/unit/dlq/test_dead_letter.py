"""A dead letter: what it says about its failure is read, and nothing in it is trusted to have a form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.dlq.dead_letter import BY_ATTRIBUTE, REDRIVE_OF, UNKNOWN, dead_letter, failure_of
from courier.http.answer import Answer
from courier.message import Attribute, unpack_letter
from courier.recipient.policy import Rejected
from courier.sender.rejection import ATTRIBUTE, FailureQueue
from tests.unit.dlq.letters import NOW, letter, message, why


def test_a_letter_of_the_sender_is_read_back() -> None:
    queue = FailureQueue("orders")
    answer = Answer(404, [], b"no such order", False, True, 0.0, 0.0)
    original = message(b"body", (Attribute("tenant", "String", "acme"),), message_id="a-7", receive_count=4)
    packed = queue.letter(original, queue.rejection(Rejected("status 404", 404), answer), 404, NOW)
    body, attributes, _ = unpack_letter(packed)
    found = dead_letter(message(body, attributes, message_id="b-9"))
    assert found.failure == (
        "status 404", 404, "2026-11-25T09:46:40.000Z", "orders", "a-7", 4, "no such order", BY_ATTRIBUTE,
    )  # fmt: skip
    assert (found.message_id, found.failed_id, found.original_id) == ("b-9", "a-7", "a-7")
    assert found.source_queue == "orders"
    assert found.own_attributes == [Attribute("tenant", "String", "acme")]


def test_the_first_id_survives_later_redrives_and_rejections() -> None:
    again = letter(attributes=(Attribute(REDRIVE_OF, "String", "first"),))
    assert (again.original_id, again.failed_id) == ("first", "a-1")
    assert [each.name for each in again.own_attributes] == []


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a\nb", "é"])
def test_a_first_id_that_no_queue_gave_does_not_count(value: str) -> None:
    assert letter(attributes=(Attribute(REDRIVE_OF, "String", value),)).original_id == "a-1"


def test_a_message_of_a_redrive_policy_has_its_source_and_no_reason() -> None:
    found = dead_letter(message(), "arn:aws:sqs:eu-west-1:123456789012:orders")
    assert found.source_queue == "orders"
    assert found.failure == UNKNOWN
    assert found.failed_id == found.original_id == "b-1"


def test_the_age_counts_from_when_it_was_sent_and_is_never_negative() -> None:
    assert letter().age(NOW) == 7200
    assert letter(sent_ms=int(NOW * 1000) + 5000).age(NOW) == 0


def test_times_come_out_in_one_form() -> None:
    for given_time, shown in (
        ("2026-11-25T10:00:00+01:00", "2026-11-25T09:00:00.000Z"),
        ("2026-11-25T09:00:00.1234567Z", "2026-11-25T09:00:00.123Z"),
        ("yesterday", ""),
        ("2026-11-25T09:00:00", ""),
        ("0001-01-01T00:00:00+23:59", ""),
        (7, ""),
    ):
        assert failure_of([why(time=given_time)]).failed_at == shown


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
names = ("reason", "status", "time", "source_queue", "message_id", "receive_count", "answer")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything)) | anything, st.booleans())
def test_no_attribute_makes_a_failure_of_another_shape(fields: Any, cut: bool) -> None:
    text = json.dumps(fields)
    found = failure_of([Attribute(ATTRIBUTE, "String", text[:-1] if cut else text)])
    assert [type(each) for each in found] in (
        [str, type(status), str, str, str, int, str, str] for status in (None, 404)
    )
    assert found.status is None or 100 <= found.status <= 999
    assert found == UNKNOWN or found.reason


@given(st.text(st.characters(), max_size=50))
def test_nor_does_any_text(text: str) -> None:
    assert failure_of([Attribute(ATTRIBUTE, "String", text)]) == UNKNOWN
