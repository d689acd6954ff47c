"""The names by which the API may be addressed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.allowed_hosts import Hosts, host_of

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("example.com", "example.com"),
        ("Example.COM.:8080", "example.com"),
        ("my_service:8080", "my_service"),
        ("127.0.0.1:", "127.0.0.1"),
        ("10.1.2.3:8080", "10.1.2.3"),
        ("[::1]:8080", "::1"),
        ("[FE80::1]", "fe80::1"),
        ("", None),
        (".", None),
        (":8080", None),
        ("::1", None),
        ("[::1", None),
        ("[not]", None),
        ("a b", None),
        ("a/b", None),
        ("user@127.0.0.1", None),
        ("127.0.0.1, evil.example", None),
        ("127.0.0.1:80:80", None),
        ("127.0.0.1:http", None),
        ("[::1]evil.example", None),
        ("ex\u00e4mple.com", None),
        ("a" * 300, None),
    ],
)
def test_a_host_is_read_without_port_and_final_dot_or_not_at_all(authority: str, host: str | None) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.20.30.40", "192.0.2.1", "0.0.0.0", "::1", "fe80::1", "localhost", "api.localhost"]
)
def test_addresses_and_loopback_names_always_pass(host: str) -> None:
    assert Hosts().admits(host)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "notlocalhost", "x"])
def test_other_names_pass_only_where_they_are_given(host: str) -> None:
    assert not Hosts().admits(host)
    assert not Hosts(["other.example"]).admits(host)
    assert Hosts(["other.example", f"{host.upper()}."]).admits(host)


@settings(deadline=None)
@given(labels=st.lists(LABELS, min_size=1, max_size=4), port=st.one_of(st.none(), st.integers(0, 65535)))
def test_no_name_passes_that_nobody_gave_whatever_its_port_and_case(labels: list[str], port: int | None) -> None:
    name = ".".join([*labels, "example"])
    written = name.upper() + (f":{port}" if port is not None else "")
    host = host_of(written)
    assert host == name
    assert not Hosts(["courier.default.svc"]).admits(host)
    assert Hosts([name]).admits(host)


@settings(deadline=None)
@given(address=st.ip_addresses(), port=st.integers(0, 65535))
def test_every_address_passes(address: object, port: int) -> None:
    host = host_of(f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}")
    assert host is not None
    assert Hosts().admits(host)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_host_or_none(text: str) -> None:
    host = host_of(text)
    assert host is None or (host and host == host.lower() and not Hosts([host]).admits(f"{host}x.example"))
