"""Members of a JSON object: found where they stand, and nothing but an object has any."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.body.json_members import MOST_MEMBERS, members
from tests.examples import examples

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=9), values, max_size=6), st.sampled_from([None, 0, 3]), st.booleans())
@run_with(max_examples=examples(2000), deadline=None)
def test_each_member_is_found_where_it_stands(fields: dict[str, object], indent: int | None, ascii_only: bool) -> None:
    text = f"\r\n {json.dumps(fields, indent=indent, ensure_ascii=ascii_only)}\t "
    found = members(text)
    assert found is not None
    assert list(found) == list(fields)
    for name, member in found.items():
        assert json.loads(text[member.start : member.end]) == fields[name]
        if isinstance(fields[name], str):
            assert member.value == fields[name]


@given(st.text(st.sampled_from('{}[]":,\\u0041 ntrue-1.e'), max_size=30))
@run_with(max_examples=examples(5000), deadline=None)
def test_nothing_that_is_no_object_has_members(text: str) -> None:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if members(text) is not None:
        assert is_object


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", '{"a":1,"a":2}', '{"a":1', '{"a":1}x', "{" * 1_000_000, '{"a":' + "[" * 1_000_000, "\ufeff{}"],
    ids=["empty", "list", "number", "twice", "cut", "more", "deep", "deep value", "byte order mark"],
)
def test_what_is_no_object_or_has_a_member_twice_has_none(text: str) -> None:
    assert members(text) is None


@pytest.mark.parametrize("number", ["9" * 1_000_000, "1e999999", "-0.0", "NaN"])
def test_a_number_too_long_for_python_is_passed_over(number: str) -> None:
    found = members(f'{{"a": {number}, "b": "c"}}')
    assert found is not None
    assert found["b"].value == "c"


def test_an_object_with_too_many_members_is_none_that_anybody_looks_for() -> None:
    assert len(members(json.dumps({str(n): n for n in range(MOST_MEMBERS)})) or ()) == MOST_MEMBERS
    assert members(json.dumps({str(n): n for n in range(MOST_MEMBERS + 1)})) is None
