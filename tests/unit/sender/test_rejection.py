"""What goes to the failure queue with a rejected message."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from courier.http.answer import TIMEOUT, Answer, Failure
from courier.message import MOST_MESSAGE_BYTES, Attribute, Letter, Message, unpack_letter
from courier.recipient.policy import Rejected
from courier.sender.rejection import ATTRIBUTE, MOST_ATTRIBUTES, FailureQueue, size

AT = 1_790_000_000.25


def message(*attributes: Attribute, body: bytes = b"body") -> Message:
    return Message("id-1", "receipt", 1.0, 0.0, 3, 0, 0, "", "", "Root=1-2", attributes, body)


def answer(body: bytes = b"no such account") -> Answer:
    return Answer(422, [], body, False, True, 0.0, 0.01)


def letter(of: Message, told: Answer | Failure | None = None, most_bytes: int = MOST_MESSAGE_BYTES) -> Letter:
    queue = FailureQueue("orders", most_bytes)
    rejection = queue.rejection(Rejected("status 422", 422), told or answer())
    return unpack_letter(queue.letter(of, rejection, 422, AT))


def reason(of: Letter) -> dict[str, object]:
    (told,) = [attribute for attribute in of.attributes if attribute.name == ATTRIBUTE]
    assert told.data_type == "String"
    return dict(json.loads(told.value))


def test_body_attributes_and_trace_are_kept_and_one_attribute_says_why() -> None:
    tenant = Attribute("tenant", "String", "a")
    made = letter(message(tenant))
    assert (made.body, made.trace, made.attributes[0]) == (b"body", "Root=1-2", tenant)
    assert reason(made) == {
        "reason": "status 422",
        "status": 422,
        "time": "2026-09-21T14:13:20.250Z",
        "source_queue": "orders",
        "message_id": "id-1",
        "receive_count": 3,
        "answer": "no such account",
    }


def test_a_failure_without_an_answer_is_told_by_its_detail() -> None:
    assert (
        reason(letter(message(), Failure(TIMEOUT, "no answer within 30 s", 30.0)))["answer"] == "no answer within 30 s"
    )


def test_what_the_recipient_says_is_cut_and_freed_of_what_an_attribute_cannot_hold() -> None:
    told = str(reason(letter(message(), answer(b"a\x00b\xff\tc\n" + b"x" * 10_000)))["answer"])
    assert told.startswith("a�b�\tc\n")
    assert len(told) <= 256


def test_a_message_that_was_rejected_before_has_only_the_last_reason() -> None:
    once = letter(message(Attribute("tenant", "String", "a")))
    again = letter(message(*once.attributes))
    assert [attribute.name for attribute in again.attributes] == ["tenant", ATTRIBUTE]


def test_the_reason_is_left_out_where_sqs_would_refuse_it() -> None:
    most = [Attribute(f"a{n}", "String", "v") for n in range(MOST_ATTRIBUTES)]
    assert list(letter(message(*most)).attributes) == most
    assert ATTRIBUTE in [attribute.name for attribute in letter(message(*most[1:])).attributes]
    assert letter(message(body=b"x" * (MOST_MESSAGE_BYTES - 10))).attributes == ()


def test_it_is_the_failure_queues_own_limit_that_counts() -> None:
    most = 262_144
    made = letter(message(), most_bytes=most)
    room = most - size(b"", made.attributes)
    assert len(letter(message(body=b"x" * room), most_bytes=most).attributes) == 1
    assert letter(message(body=b"x" * (room + 1)), most_bytes=most).attributes == ()


def test_where_the_reason_is_left_out_none_of_another_time_stays() -> None:
    old = Attribute(ATTRIBUTE, "String", '{"reason":"status 404"}')
    tenant = Attribute("tenant", "String", "a")
    assert letter(message(tenant, old, body=b"x" * (MOST_MESSAGE_BYTES - 50))).attributes == (tenant,)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 1000, 1001])
def test_the_size_of_a_message_counts_the_bytes_of_its_attributes_and_binary_ones_as_they_were(length: int) -> None:
    assert size(b"body", [Attribute("name", "String", "é")]) == 4 + 4 + 6 + 2
    value = b64encode(b"x" * length).decode()
    assert size(b"", [Attribute("n", "Binary", value)]) == 1 + 6 + length
    assert size(b"", [Attribute("n", "Binary.gif", value)]) == 1 + 10 + length
