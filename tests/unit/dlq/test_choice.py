"""A choice: an expression that would take for ever on one body leaves only that one out."""

from __future__ import annotations

import pytest

from courier.dlq import choice as module
from courier.dlq.choice import Choice
from courier.dlq.filter import Filter, compile_regex, parse_condition
from tests.unit.dlq.letters import NOW, letter
from tests.unit.dlq.test_filter import AT

SLOW = b"a" * 200 + b"!"
"""It takes 2^200 steps."""


@pytest.mark.parametrize(
    "wanted",
    [Filter((parse_condition("body~^(a+)+$", AT),)), Filter(regex=compile_regex("^(a+)+$"))],
    ids=["condition", "regex"],
)
def test_a_body_that_holds_an_expression_up_is_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch, wanted: Filter
) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.1)
    choice = Choice(wanted, lambda: NOW)
    assert [choice.admits(letter(body)) for body in (b"aaa", SLOW, b"b", SLOW, b"aa")] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert choice.undecided == 2


def test_without_an_expression_nothing_is_timed() -> None:
    choice = Choice(Filter(text=b"a"), lambda: NOW)
    assert choice.admits(letter(SLOW))
    assert not choice.takes_all
    assert Choice(Filter()).takes_all
