"""A dead letter as a line: what was exported comes back, and a line that is no message says what it lacks."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.dlq.dead_letter import REDRIVE_OF, dead_letter
from courier.dlq.line import SavedMessage, as_line, read_line
from courier.message import Attribute
from courier.sender.rejection import ATTRIBUTE, size
from tests.examples import examples
from tests.unit.dlq.letters import letter, message, why

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
attributes = st.lists(
    st.builds(Attribute, text, st.sampled_from(["String", "Number.int", "Binary"]), text), max_size=3
).map(lambda found: tuple({each.name: each for each in found}.values()))


@run_with(max_examples=examples(500))
@given(text, attributes, st.just("") | text, st.just("") | text, st.booleans())
def test_what_was_exported_comes_back(
    body: str, found: tuple[Attribute, ...], group: str, trace: str, rejected: bool
) -> None:
    own = (*(each for each in found if each.name != ATTRIBUTE), *((why(),) if rejected else ()))
    exported = dead_letter(message(body.encode(), own, group=group, trace=trace))
    line = as_line(exported)
    assert line.count(b"\n") == 1
    saved = read_line(line)
    assert saved[:4] == (body.encode(), own, group, trace)
    assert saved.original_id == exported.original_id
    assert saved.source_queue == ("orders" if rejected else "")


def test_a_line_shows_no_body_unless_it_is_asked_for() -> None:
    fields = orjson.loads(as_line(letter(b"secret"), with_body=False))
    assert "body" not in fields
    assert (fields["reason"], fields["status"], fields["source_queue"]) == ("status 404", 404, "orders")
    unknown = orjson.loads(as_line(dead_letter(message(sent_ms=0))))
    assert [unknown[name] for name in ("reason", "status", "failed_at", "source_queue", "group", "sent_at")] == [
        None
    ] * 6


def test_a_copy_names_its_first_id_and_loses_the_reason_only_where_it_came_from() -> None:
    saved = read_line(as_line(letter(attributes=(Attribute("tenant", "String", "acme"),))))
    first = Attribute(REDRIVE_OF, "String", "a-1")
    assert saved.attributes_for("orders") == (Attribute("tenant", "String", "acme"), first)
    assert [each.name for each in saved.attributes_for("orders-failed")] == ["tenant", ATTRIBUTE, REDRIVE_OF]
    assert SavedMessage(b"x").attributes_for("orders") == ()


def test_an_id_that_it_carries_already_is_kept() -> None:
    first = Attribute(REDRIVE_OF, "String", "first")
    saved = read_line(as_line(letter(attributes=(first,))))
    assert [each for each in saved.attributes_for("orders") if each.name == REDRIVE_OF] == [first]


@given(st.integers(8, 11), st.integers(1_048_576 - 60, 1_048_576))
def test_the_first_id_is_left_out_where_there_is_no_room(number: int, body_bytes: int) -> None:
    own = tuple(Attribute(f"a{n}", "String", "x") for n in range(number))
    for saved in (SavedMessage(b"x", own, original_id="id"), SavedMessage(b"x" * body_bytes, original_id="id")):
        sent = saved.attributes_for("orders")
        is_named = any(each.name == REDRIVE_OF for each in sent)
        with_id = (*saved.attributes, Attribute(REDRIVE_OF, "String", "id"))
        assert is_named is (len(with_id) <= 10 and size(saved.body, with_id) <= 1_048_576)
        assert sent[: len(saved.attributes)] == saved.attributes


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "no body"),
        (b'{"body": ""}', "no body"),
        (b'{"body": 7}', "no body"),
        (b'{"body": null, "body_base64": "%"}', "not the base64 of a text"),
        (b'{"body_base64": "/w=="}', "not the base64 of a text"),
        (b'{"body_base64": ""}', "no body"),
        (b'{"body": "x", "group": 7}', "group is not a text"),
        (b'{"body": "x", "attributes": []}', ""),
        (b'{"body": "x", "attributes": ["a"]}', "attributes is not an object"),
        (b'{"body": "x", "attributes": {"a": 7}}', "attribute 'a' is not a text"),
        (b'{"body": "x", "attributes": {"a": {"type": "Number", "value": 7}}}', "attribute 'a' is not a text"),
        (b'{"body": "x", "attributes": {"a": {"type": null, "value": "7"}}}', "attribute 'a' is not a text"),
    ],
)
def test_a_line_that_is_no_message_says_what_it_lacks(line: bytes, words: str) -> None:
    if not words:
        assert read_line(line) == SavedMessage(b"x")
        return
    with pytest.raises(ValueError, match=re.escape(words)):
        read_line(line)


def test_a_line_written_by_hand_needs_no_types() -> None:
    line = b'{"body": "x", "attributes": {"a": "v", "n": {"type": "Number", "value": "7"}, "t": {"value": "v"}}}'
    assert read_line(line).attributes == (
        Attribute("a", "String", "v"), Attribute("n", "Number", "7"), Attribute("t", "String", "v"),
    )  # fmt: skip


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
names = ("body", "body_base64", "attributes", "group", "trace", "original_id", "source_queue")


@run_with(max_examples=examples(1000))
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(names, json_values)), st.sampled_from(["", "orders"]))
def test_any_line_is_a_message_that_can_be_sent_or_refused(fields: dict[str, Any], queue: str) -> None:
    try:
        saved = read_line(json.dumps(fields).encode())
    except ValueError:
        return
    assert saved.body
    for each in saved.attributes_for(queue):
        assert [type(part) for part in each] == [str, str, str]
