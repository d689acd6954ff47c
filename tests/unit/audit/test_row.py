from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.row import escape, unescape

BODIES = st.one_of(st.binary(), st.text().map(lambda text: text.encode(errors="surrogatepass")))


@given(body=BODIES)
@settings(deadline=None)
def test_every_body_comes_back(body: bytes) -> None:
    assert unescape(escape(body)) == body


@given(body=st.text().map(lambda text: text.encode(errors="surrogatepass")))
@settings(deadline=None)
def test_an_escaped_body_is_one_line_to_every_program_and_nothing_to_a_terminal(body: bytes) -> None:
    text = escape(body).decode(errors="surrogatepass")
    assert len(text.splitlines()) <= 1
    assert not [c for c in text if (c < " " and c != "\t") or "\x7f" <= c <= "\x9f"]


@given(forged=st.text(alphabet="ab \\nr\r\n\x85\u2028", min_size=1).map(str.encode))
@settings(deadline=None)
def test_no_body_writes_what_another_body_writes(forged: bytes) -> None:
    other = forged.replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    assert other == forged or escape(other) != escape(forged)


@pytest.mark.parametrize("row", [rb'{"a":"x\"y"}', rb"C:\dir", b"end\\", rb"\x9G"])
def test_a_row_of_before_that_shows_itself_comes_back_as_it_was_written(row: bytes) -> None:
    assert unescape(row) == row


def test_what_needs_no_escape_is_left_alone() -> None:
    assert escape('{"a": "ü\t"}'.encode()) == '{"a": "ü\t"}'.encode()
    assert escape(b"\x9b2J of another encoding") == b"\x9b2J of another encoding"
