"""The conditions of --where: what each admits, and what is refused with a line that says what would be right."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.dlq.dead_letter import dead_letter
from courier.dlq.filter import Filter, compile_regex, parse_condition
from courier.message import Attribute
from tests.unit.dlq.letters import NOW, letter, message, why

PAGE = Path(__file__).parents[3] / "docs" / "dead-letters.md"
AT = datetime.fromtimestamp(NOW, UTC)
ACME = (Attribute("tenant", "String", "acme"), Attribute("price", "Number", "12.50"))
LETTER = letter(b'{"order": 1}', ACME, group="g1", receive_count=3)
PLAIN = dead_letter(message(b"x", sent_ms=0), "arn:aws:sqs:eu-west-1:1:plain")


def admits(condition: str, found: object = LETTER) -> bool:
    assert isinstance(found, type(LETTER))
    return Filter((parse_condition(condition, AT),)).admits(found, NOW)


@pytest.mark.parametrize(
    "condition",
    [
        "status=404",
        "status = 404",
        "status==404",
        "Status=4xx",
        "status=400-499,none",
        "status!=500",
        "status<500",
        "status>=404",
        "reason=status 404",
        "reason~^status 4",
        "reason!~timeout",
        "answer~such order",
        'body~"order": ?1',
        "body!=x",
        "id=b-1",
        "original=a-1",
        "group=g1",
        "source=orders",
        "age>1h",
        "age<=2h",
        "receives=3",
        "receives<4",
        "size>=12",
        "size<1KiB",
        "failed<2026-11-25T09:00:01Z",
        "failed>2h ago",
        "sent>yesterday",
        "attribute.tenant=acme",
        "attribute.tenant~^a.*e$",
        "attribute.tenant!=other",
        "attribute.missing=",
        "attribute.price>10",
        "attribute.price<=12.5",
        "attribute.tenant!~[=<>~!]",
    ],
)
def test_a_condition_admits(condition: str) -> None:
    assert admits(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "status=405",
        "status=5xx,none",
        "status>404",
        "reason=status",
        "reason~TIMEOUT",
        "group=",
        "age>3h",
        "size>12",
        "failed>2026-11-25T09:00Z",
        "attribute.tenant=Acme",
        "attribute.price>12.5",
        "attribute.tenant>1",
        "attribute.missing<1",
        "attribute.missing>1",
    ],
)
def test_a_condition_keeps_out(condition: str) -> None:
    assert not admits(condition)


@pytest.mark.parametrize("condition", ["status=none", "reason=", "group=", "source=plain", "status!=404"])
def test_what_is_not_known_is_none_or_empty(condition: str) -> None:
    assert admits(condition, PLAIN)


@pytest.mark.parametrize(
    "condition",
    [
        "age>0s",
        "age<=9999d",
        "failed<now",
        "failed>2000-01-01",
        "sent<now",
        "sent>2000-01-01",
        "status<999",
        "status>1",
    ],
)
def test_what_is_not_known_meets_no_comparison(condition: str) -> None:
    assert not admits(condition, PLAIN)


FIELDS = ("answer", "body", "group", "id", "original", "reason", "source", "attribute.tenant", "attribute.none")


@given(
    st.sampled_from(FIELDS),
    st.text(max_size=5).map(lambda text: re.escape(text.strip().lstrip("=~"))).filter(bool),
    st.booleans(),
)
def test_each_dead_letter_meets_a_condition_or_its_opposite(field: str, value: str, plain: bool) -> None:
    found = PLAIN if plain else LETTER
    assert admits(f"{field}={value}", found) is not admits(f"{field}!={value}", found)
    assert admits(f"{field}~{value}", found) is not admits(f"{field}!~{value}", found)


@given(st.sampled_from(["404", "4xx", "none", "200-399", "500,none"]), st.booleans())
def test_so_it_does_by_status(value: str, plain: bool) -> None:
    found = PLAIN if plain else LETTER
    assert admits(f"status={value}", found) is not admits(f"status!={value}", found)


def test_all_conditions_must_be_met_and_the_body_has_both_text_and_expression() -> None:
    status, group = (parse_condition(each, AT) for each in ("status=404", "group=g2"))
    assert not Filter((status, group)).admits(LETTER, NOW)
    assert Filter((status,), b"order", compile_regex(r"\d}$")).admits(LETTER, NOW)
    assert not Filter((status,), b"orders").admits(LETTER, NOW)
    assert not Filter((), b"order", compile_regex("x")).admits(LETTER, NOW)
    assert Filter().is_empty
    assert Filter().admits(PLAIN, NOW)
    assert not Filter((status,)).has_regex
    assert Filter((parse_condition("body~x", AT),)).has_regex


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("status", "a field, an operator and a value"),
        ("=404", "a field, an operator and a value"),
        ("", "a field, an operator and a value"),
        ("state=404", "must begin with age, answer, body"),
        ("attribute.=x", "must begin with"),
        ("status=40", "must be a status, like 404"),
        ("status=500-400", "must be a status, like 404"),
        ("status=099", "must be a status, like 404"),
        ("status=", "must be a status, like 404"),
        ("status~4", "~ must be one of = !="),
        ("status<4xx", "must be a whole number"),
        ("reason<3", "< must be one of"),
        ("age=2d", "= must be one of <"),
        ("age>soon", "must be a time, like 90s"),
        ("sent>soon", "must be a time, like 2h"),
        ("size>big", "must be a size"),
        ("receives>٣", "must be a whole number"),
        # What a variable that isn't set leaves would match everything.
        ("reason~", "must be a regular expression"),
        ("body !~ ", "must be a regular expression"),
        ("reason!=~x", "must have one operator"),
        ("reason=~x", "must have one operator"),
        ("body~(", "must be a regular expression"),
        ("attribute.price>ten", "must be a number"),
        ("attribute.price>nan", "must be a number"),
    ],
)
def test_a_wrong_condition_is_refused_with_what_would_be_right(condition: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_condition(condition, AT)


@given(
    st.text(max_size=30) | st.builds("{}{}{}".format, st.sampled_from(("age", "sent", *FIELDS)), st.text(), st.text())
)
def test_any_text_is_a_condition_or_refused_with_what_it_must_be(text: str) -> None:
    try:
        condition = parse_condition(text, AT)
    except ValueError as error:
        found: object = "must" in str(error)
    else:
        found = type(condition.test(LETTER, NOW)) is bool
    assert found


def test_every_condition_of_the_page_is_one() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    conditions = [each for row in rows for each in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(conditions) >= 20
    for each in conditions:
        parse_condition(each, AT)


def test_a_hostile_failure_is_compared_as_nothing() -> None:
    hostile = dead_letter(message(attributes=(why(status="404", time=[], receive_count=-1),)))
    assert admits("status=none", hostile)
    assert not admits("failed<now", hostile)
