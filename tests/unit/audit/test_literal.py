from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.literal import required_literal


@pytest.mark.parametrize(
    ("source", "literal"),
    [
        ("order 17", "order 17"),
        (r"order \d+ failed", " failed"),
        ("a(bcd)+e", "bcd"),
        ("a(bcd)*e", "a"),
        ("abc|abd", "ab"),
        ("(?i)order", ""),
        ("(?i:order)s", "s"),
        ("x(?=order)", "x"),
        ("(?x) or der  # comment", "order"),
        (r"\.\[", ".["),
        ("", ""),
    ],
)
def test_the_longest_text_that_every_match_contains_is_found(source: str, literal: str) -> None:
    assert required_literal(re.compile(source)) == literal


@given(
    source=st.from_regex(r"([ab.]|a[*+?]|\(a\|b\)|\(ab\)[*+?]|\[ab\]|\(\?:ab\)\{0,2\}|\(\?i:a\)){0,6}", fullmatch=True),
    text=st.text("abAB.", max_size=12),
)
def test_whatever_matches_contains_it(source: str, text: str) -> None:
    pattern = re.compile(source)
    if (match := pattern.search(text)) is not None:
        assert required_literal(pattern) in match[0]
