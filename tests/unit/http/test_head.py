from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.http.head import HeadTemplate, header_name, header_value
from courier.http.url_parsing import read_url

TARGET = read_url("http://example.com:8080/hook?a=b")


def test_a_head_is_the_fixed_part_the_length_and_what_the_request_adds() -> None:
    template = HeadTemplate("POST", TARGET, [("User-Agent", "courier"), ("Content-Type", "text/plain")])
    assert template.render(512, [(b"X-One", b"1"), (b"X-Two", b"")]) == (
        b"POST /hook?a=b HTTP/1.1\r\n"
        b"Host: example.com:8080\r\n"
        b"User-Agent: courier\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Length: 512\r\n"
        b"X-One: 1\r\n"
        b"X-Two: \r\n"
        b"\r\n"
    )


def test_a_head_needs_nothing_but_a_target() -> None:
    head = HeadTemplate("PUT", TARGET).render(0)
    assert head == b"PUT /hook?a=b HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "fixed", "says"),
    [
        ("POST", [("X-Bad", "a\r\nX-Other: b")], "X-Bad"),
        ("POST", [("X-Bad", "ü")], "X-Bad"),
        ("POST", [("X Bad", "a")], "X Bad"),
        ("POST", [("", "a")], "token"),
        ("POST", [("host", "a")], "host"),
        ("POST", [("Content-Length", "1")], "Content-Length"),
        ("POST", [("Transfer-Encoding", "chunked")], "Transfer-Encoding"),
        ("PO ST", [], "PO ST"),
        ("POST /x HTTP/1.1\r\n", [], "method"),
    ],
)
def test_what_cannot_be_in_a_head_is_refused_when_the_template_is_made(
    method: str, fixed: list[tuple[str, str]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        HeadTemplate(method, TARGET, fixed)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", b"plain"),
        ("", b""),
        ("two words; q=0.5", b"two words; q=0.5"),
        (" blanks at the ends\t", b"blanks at the ends"),
        ("a\ttab", b"a\ttab"),
        ('{"json": [1]}', b'{"json": [1]}'),
        ("line\nfeed", None),
        ("carriage\rreturn", None),
        ("injected\r\nX-Evil: yes", None),
        ("nul\0", None),
        ("delete\x7f", None),
        ("vertical\x0btab", None),
        ("next line\x85", None),
        ("ü", None),
        ("\N{LINE SEPARATOR}", None),
        ("\ud800", None),
    ],
)
def test_a_header_value_is_printable_ascii_or_none(text: str, value: bytes | None) -> None:
    assert header_value(text) == value


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("X-Aws-Sqsd-Attr-trace.id", b"X-Aws-Sqsd-Attr-trace.id"),
        ("!#$%&'*+-.^_`|~09az", b"!#$%&'*+-.^_`|~09az"),
        ("", None),
        ("two words", None),
        ("colon:", None),
        ("new\nline", None),
        ("trailing\n", None),
        ("ü", None),
        ("tab\t", None),
    ],
)
def test_a_header_name_is_a_token_or_none(text: str, name: bytes | None) -> None:
    assert header_name(text) == name


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=40)), max_size=5))
def test_no_header_made_of_any_text_ends_the_head_early(pairs: list[tuple[str, str]]) -> None:
    names = [(header_name(name), header_value(value)) for name, value in pairs]
    safe = [(name, value) for name, value in names if name is not None and value is not None]
    head = HeadTemplate("POST", TARGET).render(5, safe)
    assert head.count(b"\r\n\r\n") == 1
    assert head.endswith(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    assert len(lines) == 3 + len(safe)
    assert all(re.fullmatch(rb"[\t\x20-\x7e]*", line) for line in lines)
