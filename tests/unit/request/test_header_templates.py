from __future__ import annotations

import pytest

from courier.config.units import HEADER
from courier.request.header_templates import PLACEHOLDERS, check_distinct, parse_header


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("X-Queue: {queu}", "X-Queue: there is no such placeholder; did you mean {queue}?"),
        ("X-Queue: {}", "there is no such placeholder"),
        ("X-Queue: {attribute.}", "the name of a message attribute has letters"),
        ("X-Queue: {attribute.a b}", "the name of a message attribute has letters"),
        ("X-Queue: {queue!r}", "a placeholder takes no format"),
        ("X-Queue: {receive_count:05d}", "a placeholder takes no format"),
        ("X-Queue: {queue", "expected '}'"),
        ("X-Queue: queue}", "single '}'"),
        ("X-Queue: a\nb", "printable ASCII"),
        ("X-Queue: é", "printable ASCII"),
        ("X Queue: a", "a name, a colon and a value"),
        ("X-Queue", "a name, a colon and a value"),
        (": x", "a name, a colon and a value"),
        ("Host: a", "Host is set by the connection"),
        ("content-length: 1", "content-length is set by the connection"),
        ("Transfer-Encoding: chunked", "set by the connection"),
        ("Connection: close", "set by the connection"),
        ("Expect: 100-continue", "set by the connection"),
        ("Proxy-Authorization: x", "is for proxies"),
        ("Authorization: Bearer abc", "--bearer-token-file"),
        ("Content-Type: a/b", "--content-type"),
        ("Webhook-Id: a", "--webhook-secret-file"),
    ],
)
def test_a_header_that_is_wrong_is_refused_with_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the text is looked at below)
        parse_header(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_placeholder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="the placeholders are ") as refused:
        parse_header("X: {nonsense}")
    assert all(name in str(refused.value) for name in (*PLACEHOLDERS, "attribute.NAME"))


@pytest.mark.parametrize("text", ["X-Key: hunter2é", "X-Key: hunter2{", "X-Key: hunter2 {nonsense}", "X Key: hunter2"])
def test_a_value_is_never_shown_since_it_may_be_a_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_header(text)
    assert "hunter2" not in str(refused.value)
    header = parse_header("X-Key: hunter2")
    assert "hunter2" not in f"{header} {header!r}"


def test_two_headers_of_one_name_are_refused() -> None:
    headers = [parse_header("X-A: 1"), parse_header("X-B: 1")]
    check_distinct(headers)
    with pytest.raises(ValueError, match="x-a is given twice"):
        check_distinct([*headers, parse_header("x-a: 2")])


def test_the_kind_of_the_option_takes_text_and_nothing_else() -> None:
    assert HEADER.parse("X: {queue}") == parse_header("X: {queue}")
    assert HEADER.parse(parse_header("X: a")) == parse_header("X: a")
    with pytest.raises(ValueError, match="a name, a colon and a value"):
        HEADER.parse(3)
