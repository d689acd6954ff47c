from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from courier.http.url import Url
from courier.http.url_parsing import read_url


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.com", Url("http", "example.com", 80, "/", "example.com")),
        ("https://example.com/", Url("https", "example.com", 443, "/", "example.com")),
        ("  http://example.com/hook\n", Url("http", "example.com", 80, "/hook", "example.com")),
        ("HTTP://EXAMPLE.com:80/Hook", Url("http", "example.com", 80, "/Hook", "example.com")),
        ("https://example.com:443/", Url("https", "example.com", 443, "/", "example.com")),
        ("https://example.com:80/", Url("https", "example.com", 80, "/", "example.com:80")),
        ("http://example.com:8080/a?b=c&d", Url("http", "example.com", 8080, "/a?b=c&d", "example.com:8080")),
        ("http://example.com?b", Url("http", "example.com", 80, "/?b", "example.com")),
        ("http://example.com/a#part", Url("http", "example.com", 80, "/a", "example.com")),
        ("http://example.com/a/./b/../c", Url("http", "example.com", 80, "/a/c", "example.com")),
        ("http://example.com/a b/ü?q=ü", Url("http", "example.com", 80, "/a%20b/%C3%BC?q=%C3%BC", "example.com")),
        ("http://example.com/%2f%7e@:", Url("http", "example.com", 80, "/%2F%7E@:", "example.com")),
        ("http://bücher.example/", Url("http", "xn--bcher-kva.example", 80, "/", "xn--bcher-kva.example")),
        ("http://order_service:9000/", Url("http", "order_service", 9000, "/", "order_service:9000")),
        ("http://127.0.0.1:9000/", Url("http", "127.0.0.1", 9000, "/", "127.0.0.1:9000")),
        ("http://[::1]/", Url("http", "::1", 80, "/", "[::1]")),
        ("https://[2001:DB8::1]:8443/", Url("https", "2001:db8::1", 8443, "/", "[2001:db8::1]:8443")),
        ("http://[fe80::1%25eth0]:80/", Url("http", "fe80::1%eth0", 80, "/", "[fe80::1]")),
    ],
)
def test_a_url_is_normalised_and_taken_apart(url: str, target: Url) -> None:
    assert read_url(url) == target


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must start with http:// or https://"),
        ("example.com/hook", "must start with http:// or https://"),
        ("localhost:8080", "must start with http:// or https://"),
        ("ftp://example.com/", "must start with http:// or https://"),
        ("http:/example.com/", "must start with http:// or https://"),
        ("http://", "must name a host"),
        ("http:///hook", "must name a host"),
        ("http://*.example.com/", "must name a host"),
        ("http://-example.com/", "must name a host"),
        ("http://a..b/", "must name a host"),
        ("http://" + "a" * 64 + ".com/", "must name a host"),
        ("http://" + "a." * 130 + "com/", "must name a host"),
        ("http://example.com:0/", "must have a port from 1 to 65535"),
        ("http://example.com:65536/", "isn't a URL like https://example.com:8443/path"),
        ("http://example.com:http/", "isn't a URL like https://example.com:8443/path"),
        ("http://[::1/", "isn't a URL like https://example.com:8443/path"),
        ("http://" + "ü" * 70 + ".com/", "isn't a URL like https://example.com:8443/path"),
    ],
)
def test_a_bad_url_is_refused_in_one_line_that_says_what_is_right(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        read_url(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://user@example.com/", "http://user:hunter2@example.com/", "http://:hunter2@x/"])
def test_a_user_name_is_refused_and_the_password_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="--basic-auth-file") as caught:
        read_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_target_is_a_url_again_for_log_lines() -> None:
    assert read_url("https://Example.com:8443/a?b#c").text == "https://example.com:8443/a?b"


@given(st.text(max_size=60))
def test_whatever_the_url_nothing_but_visible_ascii_gets_into_a_head(text: str) -> None:
    for url in (f"http://example.com/{text}", f"http://example.com/?{text}", f"http://{text}/", f"http://h{text}"):
        try:
            target = read_url(url)
        except ValueError:
            continue
        for part in (target.path, target.host_header):
            assert part.isascii()
            assert part.isprintable()
            assert " " not in part


SEGMENTS = st.text("aZ09-._~!$&'()*+,;=:@%/?", max_size=12)
HOSTS = st.text("aZ09_-.", min_size=1, max_size=12)


@given(st.sampled_from(["http", "https"]), HOSTS, st.none() | st.integers(0, 70_000), SEGMENTS, st.none() | SEGMENTS)
def test_a_url_is_read_as_urllib3_reads_it(
    scheme: str, host: str, port: int | None, path: str, query: str | None
) -> None:
    text = f"{scheme}://{host}{'' if port is None else f':{port}'}/{path}{'' if query is None else f'?{query}'}"
    try:
        url = read_url(text)
    except ValueError:
        return
    parts = parse_url(text)
    assert (url.scheme, url.host, url.path) == (scheme, parts.host, parts.request_uri)
    assert url.port == parts.port or (parts.port is None and url.port == {"http": 80, "https": 443}[scheme])
