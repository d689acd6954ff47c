from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.config.units import (
    HOST_PORT,
    PATH,
    SHARE,
    TEXT,
    YES_NO,
    OptionType,
    number,
    one_of,
    or_off,
    parse_address,
    parse_duration,
    parse_size,
    per_second,
    seconds,
    size,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("30", 30),
        ("30s", 30),
        ("500ms", 0.5),
        ("1.5m", 90),
        ("5 min", 300),
        ("1h", 3600),
        ("2D", 172800),
        (7, 7),
        (0.5, 0.5),
    ],
)
def test_durations_are_seconds_or_have_a_unit(value: Any, expected: float) -> None:
    assert parse_duration(value) == expected


@pytest.mark.parametrize(
    "value", ["", "-1", "1w", "s", "1e3", "inf", "nan", float("inf"), float("nan"), True, None, "1s 2s"]
)
def test_what_is_no_duration_is_none(value: Any) -> None:
    assert parse_duration(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("4096", 4096), ("64k", 64000), ("64KiB", 65536), ("1.5 MB", 1_500_000), ("1GiB", 1 << 30), ("10B", 10), (5, 5)],
)
def test_sizes_are_bytes_or_have_a_unit(value: Any, expected: int) -> None:
    assert parse_size(value) == expected


@pytest.mark.parametrize("value", ["", "-1", "1T", "b", True, 1.5, None])
def test_what_is_no_size_is_none(value: Any) -> None:
    assert parse_size(value) is None


@pytest.mark.parametrize(
    ("kind", "value", "right"),
    [
        (number(1, 10), "11", "a whole number from 1 to 10"),
        (number(1, 10), "1.5", "a whole number from 1 to 10"),
        (number(1, 10), True, "a whole number from 1 to 10"),
        (number(1, 10), 1.0, "a whole number from 1 to 10"),
        (seconds(0, 20, whole=True), "1.5", "whole seconds from 0 to 20"),
        (seconds(0, 20), 21, "seconds from 0 to 20"),
        (size(4096, 8192), "1k", "a size from 4096 to 8192 bytes"),
        (per_second(100_000), "0", "a number a second above 0"),
        (per_second(100_000), "nan", "a number a second above 0"),
        (per_second(100_000), "x", "a number a second above 0"),
        (per_second(10), 11, "up to 10"),
        (one_of("a", "b", "c"), "d", "a, b or c"),
        (TEXT, "a\nb", "text on one line"),
        (TEXT, 5, "text on one line"),
        (PATH, "", "a path"),
        (PATH, "a\0b", "a path"),
        (PATH, "~nobody-has-this-name/x", "home directory"),
    ],
)
def test_what_is_refused_is_shown_with_what_is_right(kind: OptionType, value: Any, right: str) -> None:
    with pytest.raises(ValueError, match=right) as refused:
        kind.parse(value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "kind", [number(1, 10), seconds(0, 20), size(0, 10), per_second(100_000), per_second(10), SHARE]
)
@pytest.mark.parametrize("value", ["9" * 400, 10**400, "9" * 5000])
def test_a_number_of_hundreds_of_digits_is_refused_like_any_other_that_is_too_large(
    kind: OptionType, value: Any
) -> None:
    with pytest.raises(ValueError, match="must be"):
        kind.parse(value)
    assert parse_size(f"{value}k") is None


@pytest.mark.parametrize("word", ["none", "off", " NONE "])
def test_what_may_be_off_takes_a_word_for_it_or_what_its_kind_takes(word: str) -> None:
    assert or_off(per_second(10)).parse(word) is None
    assert or_off(number(0, 10), 0).parse(word) == 0
    assert or_off(number(0, 10), 0).parse("7") == 7
    with pytest.raises(ValueError, match="from 1 to 10, or none"):
        or_off(number(1, 10)).parse("never")


def test_whole_seconds_are_an_int() -> None:
    assert isinstance(seconds(0, 20, whole=True).parse("20"), int)


def test_words_and_texts_lose_the_spaces_around_them() -> None:
    assert one_of("json", "logfmt").parse(" JSON ") == "json"
    assert TEXT.parse(" orders ") == "orders"
    assert PATH.parse(Path("x")) == Path("x")


@given(st.text())
def test_no_text_breaks_a_kind(value: str) -> None:
    for kind in (number(1, 10), seconds(0, 20), size(0, 10), per_second(100_000), one_of("a", "b"), TEXT, PATH):
        with suppress(ValueError):
            kind.parse(value)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("[::1]:8080", ("::1", 8080)),
        ("[fe80::1%eth0]:8080", ("fe80::1%eth0", 8080)),
    ],
)
def test_addresses_are_host_and_port(value: str, address: tuple[str, int]) -> None:
    assert HOST_PORT.parse(value) == value
    assert parse_address(value) == address


def test_no_address_is_none_in_any_case() -> None:
    assert HOST_PORT.parse(" None ") == "none"
    assert parse_address("none") is None


@pytest.mark.parametrize(
    "value",
    ["", "8080", ":8080", "host", "host:", "host:65536", "::1:8080", "http://host:80", "a b:80", "u@h:80", 8080],
)
def test_what_is_no_address_says_what_would_be_right(value: Any) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8080"):
        HOST_PORT.parse(value)


@pytest.mark.parametrize("value", ["yes", "YES", " true ", "on", "1", True])
def test_what_means_yes(value: object) -> None:
    assert YES_NO.parse(value) is True


@pytest.mark.parametrize("value", ["no", "False", "off", "0", False])
def test_what_means_no(value: object) -> None:
    assert YES_NO.parse(value) is False


@pytest.mark.parametrize("value", ["", "maybe", "2", None, 7])
def test_what_is_neither_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be yes or no"):
        YES_NO.parse(value)
