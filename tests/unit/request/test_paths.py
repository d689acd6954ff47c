"""Paths that messages choose: nothing is sent that a recipient could read as another path."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.request.paths import LONGEST_PATH, AllowedPaths, PathError, read_path
from tests.examples import examples

_HOSTILE = """
/jobs/../admin /jobs/.. /.. /. /jobs/./x /jobs/%2e%2e/admin /jobs/%2E%2e/admin /jobs/.%2e/admin /jobs/..;/admin
/jobs/..;a=b/admin /jobs/%2e%2e%3b/admin /jobs/...;/x /jobs//admin //evil.example/jobs ///jobs /jobs/x//
/jobs%2fadmin /jobs%2Fadmin /jobs/%5c..%5cadmin /jobs\\admin \\\\evil.example /jobs%5Cadmin
/jobs/%252e%252e/admin /jobs/%25 /jobs/% /jobs/%4 /jobs/%zz /jobs/%u002e /jobs/%c0%ae%c0%ae/x /jobs/%ff
/jobs/%00 /jobs/%0d%0aHost:evil /jobs/%7f /jobs/%e2%80%8b /jobs/%EF%BC%8E%EF%BC%8E/x /jobs/%EF%BC%8Fx /jobs/%20
/jobs/.%20.
/jobs?x=1 /jobs#x /jobs/x?../ /jobs/%3fx /jobs/%23x /jobs/;x /jobs/é http://evil.example/jobs https://evil.example
//user@evil.example/jobs jobs jobs/x * evil.example:443 @evil.example /jobs/<x> /jobs/"x" /jobs/{x} /jobs/x^ /jobs/x|y
"""
HOSTILE = _HOSTILE.split()

WELL = {
    "/": "/",
    "/jobs": "/jobs",
    "/jobs/": "/jobs/",
    "/jobs/mail/42": "/jobs/mail/42",
    "/jobs/%6Dail": "/jobs/mail",
    "/jobs/a%20b": "/jobs/a%20b",
    "/jobs/caf%c3%a9": "/jobs/caf%C3%A9",
    "/jobs/@scope/pkg:1": "/jobs/@scope/pkg:1",
    "/jobs/v1.2/x..y/...z": "/jobs/v1.2/x..y/...z",
    "/jobs/a;b=c": "/jobs/a;b=c",
    "/jobs/a%2Cb": "/jobs/a%2Cb",
}


@pytest.mark.parametrize("text", [*HOSTILE, "", " /jobs", "/jobs ", "/jobs\t", "/jobs\r\nHost: x", "/jobs\0", "/a b"])
def test_a_path_that_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(PathError):
        read_path(text)
    with pytest.raises(PathError):
        AllowedPaths(["/"]).read(text)


@pytest.mark.parametrize(("text", "path"), WELL.items())
def test_a_path_is_sent_in_its_normal_form(text: str, path: str) -> None:
    assert read_path(text) == path
    assert read_path(path) == path


def test_a_prefix_ends_with_a_segment() -> None:
    allowed = AllowedPaths(["/jobs", "/mail/"], ["/once"])
    for text in ("/jobs", "/jobs/", "/jobs/x/y", "/mail/", "/mail/x", "/once", "/%6Aobs/x"):
        assert allowed.read(text) == read_path(text).encode()
    for text in ("/", "/jobs2", "/jobs.x", "/job", "/mail", "/once/x", "/Jobs", "/admin", "/x/jobs"):
        with pytest.raises(PathError):
            allowed.read(text)


def test_the_root_allows_every_path() -> None:
    assert AllowedPaths(["/"]).read("/any/where") == b"/any/where"


def test_without_a_prefix_no_path_is_allowed() -> None:
    for text in WELL:
        with pytest.raises(PathError):
            AllowedPaths([]).read(text)


def test_a_path_has_a_limit() -> None:
    read_path("/" + "x" * (LONGEST_PATH - 1))
    with pytest.raises(PathError):
        read_path("/" + "x" * LONGEST_PATH)


PIECES = st.sampled_from(
    [
        *"/.;@:%\\?# \r\nabj~",
        "//",
        "..",
        "/jobs",
        "%2e",
        "%2f",
        "%2F",
        "%5c",
        "%25",
        "%00",
        "%3b",
        "%c3%a9",
        "%EF%BC%8E",
    ]
)


def resolutions(path: str) -> set[str]:
    """Return what servers of different habits may take a path for."""
    found = {path}
    for step in (
        unquote,
        lambda text: unquote(unquote(text)),
        lambda text: urlsplit(urljoin("http://host/", text)).path,
        lambda text: re.sub(r";[^/]*", "", text),
        lambda text: text.replace("\\", "/"),
        lambda text: unicodedata.normalize("NFKC", text),
    ):
        found |= {step(each) for each in found}
    return {urlsplit(urljoin("http://host/", re.sub("/+", "/", each))).path for each in found}


@settings(max_examples=examples(2000))
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30))
def test_whatever_a_message_asks_for_every_reading_of_what_is_sent_is_below_the_prefix(text: str) -> None:
    try:
        path = AllowedPaths(["/jobs"]).read(text).decode("ascii")
    except PathError:
        return
    assert path == read_path(path)
    assert re.fullmatch(r"/jobs(/[!-~]*)?", path)
    assert not re.search(r"[?#\\ ]", path)
    for reading in resolutions(path):
        assert reading == "/jobs" or reading.startswith("/jobs/"), reading
        assert unquote(reading).count("/") == path.count("/")
