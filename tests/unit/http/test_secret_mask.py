from __future__ import annotations

import html
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from courier.http.secret_mask import LEAST_CHARACTERS, Mask, secrets_in_url

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=LEAST_CHARACTERS, max_size=40)


@given(secret=secrets, before=st.binary(max_size=20), behind=st.binary(max_size=20))
def test_a_secret_is_found_in_whatever_form_it_is_repeated(secret: str, before: bytes, behind: bytes) -> None:
    mask = Mask([secret])
    for form in (secret, json.dumps(secret)[1:-1], html.escape(secret), quote(secret), quote(secret, safe="")):
        assert form.encode() not in mask(before + form.encode() + behind) or form in "***"


@given(data=st.binary(), short=st.text(max_size=LEAST_CHARACTERS - 1))
def test_what_is_no_secret_is_left_alone(data: bytes, short: str) -> None:
    assert Mask([short])(data) == data
    assert Mask()(data) == data


@given(secret=secrets, own=secrets, before=st.binary(max_size=20))
def test_one_secret_more_is_hidden_like_the_others(secret: str, own: str, before: bytes) -> None:
    mask = Mask([secret]).plus(own)
    assert mask.plus("short") is mask
    for form in (own, json.dumps(own)[1:-1], html.escape(own), quote(own), quote(own, safe="")):
        assert len(form) <= mask.longest
        assert form.encode() not in mask(before + form.encode()) or form in "***"
    assert "s3cr3t" not in Mask().plus("s3cr3t").text("a s3cr3t")


def test_a_secret_that_begins_another_one_hides_both() -> None:
    mask = Mask(["hunter2", "hunter2-and-more"])
    assert mask(b"a hunter2-and-more b hunter2 c") == b"a *** b *** c"
    assert mask.text("é hunter2 \udc80") == "é *** \udc80"


def test_of_a_url_the_path_with_its_query_and_what_may_be_a_key_in_it_is_hidden() -> None:
    mask = Mask(secrets_in_url("/hooks/T0123456789abcdef/in?key=s3cr3t-key&v=1"))
    assert mask(b"Cannot POST /hooks/T0123456789abcdef/in?key=s3cr3t-key&v=1") == b"Cannot POST ***"
    assert mask(b"no hook T0123456789abcdef, no key s3cr3t-key in hooks") == b"no hook ***, no key *** in hooks"


@given(st.text("ab&<>\"'", min_size=6, max_size=12))
def test_a_secret_is_hidden_in_both_forms_of_html(secret: str) -> None:
    for quotes in (True, False):
        page = f"<p>{html.escape(secret, quote=quotes)}</p>".encode()
        assert Mask((secret,))(page) == b"<p>***</p>"
