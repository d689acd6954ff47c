"""Copies of dead letters: nothing of a message is left out, and what can't be copied says why."""

from __future__ import annotations

from base64 import b64encode

import orjson
from hypothesis import given
from hypothesis import strategies as st

from courier.dlq.dead_letter import dead_letter
from courier.dlq.redriven import NO_ATTRIBUTE_LEFT, copy_of
from courier.http.url_parsing import read_url
from courier.message import REDRIVE_OF, Attribute, Message, redrive_of
from courier.sender.rejection import ATTRIBUTE, MOST_ATTRIBUTES, size
from courier.sqs.batch import Outgoing
from courier.sqs.queue import QueueInfo


def queue(*, fifo: bool = False, most: int = 1_048_576) -> QueueInfo:
    name = "orders.fifo" if fifo else "orders"
    url = read_url("http://127.0.0.1:1")
    return QueueInfo(f"http://127.0.0.1:1/0/{name}", name, "local", url, fifo, 30, maximum_message_size=most)


def message(
    message_id: str = "m1", body: bytes = b"body", attributes: tuple[Attribute, ...] = (), group: str = ""
) -> Message:
    return Message(message_id, "r", 0.0, 0.0, 1, 1, 1, "", group, "Root=1", attributes, body)


NAMES = st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=8)
ATTRIBUTES = st.lists(
    st.builds(
        lambda name, kind, value: Attribute(
            name, kind, b64encode(value.encode()).decode() if kind == "Binary" else value
        ),
        st.one_of(NAMES, st.just(ATTRIBUTE), st.just(REDRIVE_OF)),
        st.sampled_from(["String", "Number", "Binary", "String.x"]),
        st.text(min_size=1, max_size=20),
    ),
    max_size=MOST_ATTRIBUTES,
    unique_by=lambda attribute: attribute.name,
).map(tuple)


@given(
    ATTRIBUTES,
    st.binary(min_size=1, max_size=100),
    st.booleans(),
    st.sampled_from(["", "g"]),
    st.integers(50, 500),
)
def test_a_copy_has_all_of_the_message_and_is_within_the_limits_of_sqs_or_there_is_none(
    attributes: tuple[Attribute, ...], body: bytes, fifo: bool, group: str, most: int
) -> None:
    letter = dead_letter(message(body=body, attributes=attributes, group=group))
    copy = copy_of(letter, queue(fifo=fifo, most=most))
    own = [each for each in attributes if each.name not in (ATTRIBUTE, REDRIVE_OF)]
    if isinstance(copy, str):
        needed = size(body, (*own, Attribute(REDRIVE_OF, "String", letter.original_id)))
        assert len(own) == MOST_ATTRIBUTES or needed > most
        return
    assert copy.body == body
    assert copy.trace == "Root=1"
    assert [each for each in copy.attributes if each.name != REDRIVE_OF] == own
    assert len(copy.attributes) <= MOST_ATTRIBUTES
    assert size(copy.body, copy.attributes) <= most
    assert redrive_of(copy.attributes) == letter.original_id
    assert copy.group == (group or ("m1" if fifo else ""))
    assert bool(copy.deduplication_id) is fifo


def test_the_first_id_survives_any_number_of_redrives() -> None:
    target, body = queue(), b"body"
    letter = dead_letter(message("first", body))
    for number in range(3):
        copy = copy_of(letter, target)
        assert isinstance(copy, Outgoing)
        assert redrive_of(copy.attributes) == "first"
        # It fails again, and a redrive policy keeps the id of the copy.
        letter = dead_letter(message(f"copy-{number}", copy.body, tuple(copy.attributes)))


def test_the_copy_of_a_letter_of_the_failure_queue_is_known_by_the_id_that_was_delivered() -> None:
    why = orjson.dumps({"reason": "status 404", "message_id": "delivered", "source_queue": "orders"}).decode()
    letter = dead_letter(message("letter", attributes=(Attribute(ATTRIBUTE, "String", why),)))
    copy = copy_of(letter, queue())
    assert isinstance(copy, Outgoing)
    assert copy.attributes == (Attribute(REDRIVE_OF, "String", "delivered"),)


def test_a_copy_has_the_deduplication_id_of_its_dead_letter_and_of_no_other() -> None:
    target = queue(fifo=True)
    ids = []
    for message_id in ("m1", "m1", "m2"):
        copy = copy_of(dead_letter(message(message_id, attributes=(Attribute(REDRIVE_OF, "String", "first"),))), target)
        assert isinstance(copy, Outgoing)
        ids.append(copy.deduplication_id)
    assert ids[0] == ids[1] != ids[2]
    assert all(len(each) <= 128 for each in ids)


def test_ten_attributes_leave_no_room_unless_one_is_couriers_own() -> None:
    ten = tuple(Attribute(f"a{n}", "String", "x") for n in range(10))
    assert copy_of(dead_letter(message(attributes=ten)), queue()) == NO_ATTRIBUTE_LEFT
    own = (*ten[:9], Attribute(ATTRIBUTE, "String", "{}"))
    assert isinstance(copy_of(dead_letter(message(attributes=own)), queue()), Outgoing)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.sampled_from(["", "a b", "\x1b[2J", "é"]))
def test_a_copy_names_an_id_by_which_it_is_known_when_it_comes_back(claimed: str) -> None:
    why = orjson.dumps({"reason": "status 404", "message_id": claimed, "source_queue": "orders"}).decode()
    letter = dead_letter(message(attributes=(Attribute(ATTRIBUTE, "String", why),)))
    copy = copy_of(letter, queue())
    assert isinstance(copy, Outgoing)
    assert redrive_of(copy.attributes) == letter.original_id
