from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.http.excerpt import excerpt
from courier.http.secret_mask import Mask

SECRET = b"s3cr/et+to<k>en="
MASK = Mask([SECRET.decode(), "", "abc"])


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET.decode()).encode(),
        SECRET.replace(b"/", b"\\/"),
        html.escape(SECRET.decode()).encode(),
        quote(SECRET, safe="").encode(),
        quote(SECRET).encode(),
        base64.b64encode(SECRET),
    ],
)
def test_a_secret_is_masked_in_the_forms_in_which_servers_repeat_it(form: bytes) -> None:
    shown = excerpt(b"no such token: " + form + b" sorry", MASK, 200)
    assert shown.startswith("no such token: ")
    assert "***" in shown
    assert "s3cr" not in shown
    assert base64.b64encode(SECRET).decode().rstrip("=") not in shown


def test_what_is_shown_is_printable() -> None:
    assert excerpt("a\r\n\x1b[31mred\x00\u2028\u202e€\ud800".encode(errors="surrogatepass"), Mask(), 200) == (
        "a\r\n\ufffd[31mred\ufffd\ufffd\ufffd€\ufffd\ufffd\ufffd"
    )


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"x" * 3, b"\xe2\x82\xac", SECRET, SECRET * 20, b"yy" * 300]), max_size=30),
    st.integers(10, 300),
    st.integers(0, 40),
)
def test_no_part_of_a_secret_is_ever_shown(parts: list[bytes], limit: int, cut: int) -> None:
    answer = b"|".join(parts)
    shown = excerpt(answer[: len(answer)], MASK, limit)
    assert len(shown) <= limit
    assert "s3cr" not in shown
    assert "k>en" not in shown
    # A whole answer that is cut by the reader at any byte may end in a part of a secret only beyond what is shown.
    if cut and len(answer) > 10_000:
        assert "s3cr" not in excerpt(answer[:-cut], MASK, limit)


def test_short_texts_are_not_masked() -> None:
    assert excerpt(b"POST /in refused", Mask(["/in", "POST"]), 200) == "POST /in refused"
