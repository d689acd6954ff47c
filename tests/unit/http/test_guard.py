from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.http.guard import AddressGuard, parse_network

GUARD = AddressGuard()

# Written down here once more, apart from the table under test.
PRIVATE = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
]


AZURE = IPv4Address("168.63.129.16")


def hextets(address: int) -> str:
    return f"{address >> 16:x}:{address & 0xFFFF:x}"


# Each way to put an IPv4 address into one of IPv6, from its number.
FORMS: dict[str, Callable[[int], str]] = {
    "mapped": lambda a: f"::ffff:{hextets(a)}",
    "mapped, dotted": lambda a: f"::ffff:{IPv4Address(a)}",
    "NAT64": lambda a: f"64:ff9b::{hextets(a)}",
    "6to4": lambda a: f"2002:{hextets(a)}::1",
    "Teredo client": lambda a: f"2001:0:808:808:0:0:{hextets(a ^ 0xFFFFFFFF)}",
    "Teredo server": lambda a: f"2001:0:{hextets(a)}:0:0:{hextets(0x08080808 ^ 0xFFFFFFFF)}",
}
NEVER: dict[str, Callable[[int], str]] = {
    "compatible": lambda a: f"::{hextets(a)}",
    "translated": lambda a: f"::ffff:0:{hextets(a)}",
    "NAT64 of the site, 96 bits": lambda a: f"64:ff9b:1::{hextets(a)}",
    "NAT64 of the site, 48 bits": lambda a: f"64:ff9b:1:{a >> 16:x}:{a >> 8 & 0xFF:x}:{(a & 0xFF) << 8:x}::",
}

denied_numbers = st.one_of(
    *[
        st.integers(int(network.network_address), int(network.broadcast_address))
        for network in map(IPv4Network, PRIVATE)
    ]
)
# Between 0.0.0.0/8 and multicast, where few addresses are special: no example has to be thrown away many times.
public_numbers = st.integers(1 << 24, (224 << 24) - 1).filter(
    lambda a: IPv4Address(a).is_global and IPv4Address(a) != AZURE
)


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("0.0.0.0", "unspecified (0.0.0.0/32)"),
        ("0.1.2.3", "this network (0.0.0.0/8)"),
        ("10.0.0.5", "private (10.0.0.0/8)"),
        ("100.64.0.1", "shared address space of carriers (100.64.0.0/10)"),
        ("100.127.255.255", "shared address space of carriers (100.64.0.0/10)"),
        ("127.0.0.1", "loopback (127.0.0.0/8)"),
        ("127.255.255.254", "loopback (127.0.0.0/8)"),
        ("168.63.129.16", "Azure's host (168.63.129.16/32)"),
        ("::ffff:168.63.129.16", "IPv4-mapped 168.63.129.16, Azure's host (168.63.129.16/32)"),
        ("64:ff9b::a83f:8110", "NAT64 of 168.63.129.16, Azure's host (168.63.129.16/32)"),
        ("100.100.100.200", "shared address space of carriers (100.64.0.0/10)"),
        ("192.0.0.192", "reserved (192.0.0.0/24)"),
        ("fd00:c1::a9fe:a9fe", "unique local (fc00::/7)"),
        ("fd20:ce::254", "unique local (fc00::/7)"),
        ("169.254.169.254", "link-local (169.254.0.0/16)"),
        ("172.16.0.1", "private (172.16.0.0/12)"),
        ("172.31.255.255", "private (172.16.0.0/12)"),
        ("192.0.2.1", "documentation (192.0.2.0/24)"),
        ("192.168.1.1", "private (192.168.0.0/16)"),
        ("198.19.0.1", "benchmarking (198.18.0.0/15)"),
        ("224.0.0.1", "multicast (224.0.0.0/4)"),
        ("239.255.255.255", "multicast (224.0.0.0/4)"),
        ("240.0.0.1", "reserved (240.0.0.0/4)"),
        ("255.255.255.255", "broadcast (255.255.255.255/32)"),
        ("::", "unspecified (::/128)"),
        ("::1", "loopback (::1/128)"),
        ("::7f00:1", "IPv4-compatible (::/96)"),
        ("::ffff:169.254.169.254", "IPv4-mapped 169.254.169.254, link-local (169.254.0.0/16)"),
        ("64:ff9b::a9fe:a9fe", "NAT64 of 169.254.169.254, link-local (169.254.0.0/16)"),
        ("64:ff9b:1::808:808", "local-use NAT64 (64:ff9b:1::/48)"),
        ("100::1", "reserved (outside of 2000::/3)"),
        ("2001:2::1", "reserved (2001::/23)"),
        ("2001:db8::1", "documentation (2001:db8::/32)"),
        ("2002:7f00:1::", "6to4 of 127.0.0.1, loopback (127.0.0.0/8)"),
        ("2001:0:808:808::80ff:fffe", "Teredo of 127.0.0.1, loopback (127.0.0.0/8)"),
        ("3fff:fff::1", "documentation (3fff::/20)"),
        ("4000::1", "reserved (outside of 2000::/3)"),
        ("fd00:ec2::254", "unique local (fc00::/7)"),
        ("fe80::1", "link-local (fe80::/10)"),
        ("fe80::1%eth0", "link-local (fe80::/10)"),
        ("::1%1", "loopback (::1/128)"),
        ("fec0::1", "site-local (fec0::/10)"),
        ("ff02::1%eth0", "multicast (ff00::/8)"),
        ("recipient.example", "no address"),
        ("127.1", "no address"),
        ("0177.0.0.1", "no address"),
        ("", "no address"),
    ],
)
def test_an_address_is_denied_by_the_rule_that_is_named(address: str, rule: str) -> None:
    assert GUARD.denial(address) == rule


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "99.255.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "168.63.129.15",
        "168.63.129.17",
        "172.32.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ],
)
def test_what_is_public_is_let_through(address: str) -> None:
    assert GUARD.denial(address) is None


@pytest.mark.parametrize("form", [*FORMS, *NEVER])
@given(number=denied_numbers)
def test_every_form_of_a_denied_address_is_denied(form: str, number: int) -> None:
    assert GUARD.denial(str(IPv4Address(number))) is not None
    assert GUARD.denial((FORMS | NEVER)[form](number)) is not None


@pytest.mark.parametrize("form", FORMS)
@given(number=public_numbers)
def test_a_form_of_a_public_address_is_judged_as_that_address_is(form: str, number: int) -> None:
    plain = GUARD.denial(str(IPv4Address(number)))
    within = GUARD.denial(FORMS[form](number))
    assert (within is None) == (plain is None)


@given(number=public_numbers, form=st.sampled_from(list(NEVER)))
def test_forms_that_lead_nowhere_public_are_denied_whatever_they_carry(number: int, form: str) -> None:
    assert GUARD.denial(NEVER[form](number)) is not None


@given(address=st.ip_addresses())
def test_nothing_is_let_through_that_python_knows_to_be_special(address: IPv4Address | IPv6Address) -> None:
    if GUARD.denial(str(address)) is not None or (isinstance(address, IPv6Address) and carries(address)):
        return
    for kind in ("private", "loopback", "link_local", "multicast", "reserved", "unspecified"):
        assert not getattr(address, f"is_{kind}")


def carries(address: IPv6Address) -> bool:
    return bool(address.ipv4_mapped or address.sixtofour or address.teredo) or str(address).startswith("64:ff9b:")


def allowing(*networks: str) -> AddressGuard:
    return AddressGuard(map(parse_network, networks))


def test_what_is_allowed_is_let_through_and_its_neighbours_are_not() -> None:
    guard = allowing("10.1.0.0/16", "fd00::/64", "127.0.0.2")
    assert guard.denial("10.1.255.255") is None
    assert guard.denial("10.2.0.0") is not None
    assert guard.denial("fd00::1") is None
    assert guard.denial("fd00:0:0:1::1") is not None
    assert guard.denial("127.0.0.2") is None
    assert guard.denial("127.0.0.1") is not None


def test_a_mapped_address_is_allowed_as_the_one_that_is_connected_to() -> None:
    assert allowing("10.0.0.0/8").denial("::ffff:10.1.2.3") is None
    assert allowing("::/0").denial("::ffff:10.1.2.3") is not None


@pytest.mark.parametrize("form", ["NAT64", "6to4", "Teredo client", "Teredo server"])
def test_allowing_an_ipv4_network_allows_no_way_around(form: str) -> None:
    assert allowing("10.0.0.0/8").denial(FORMS[form](int(IPv4Address("10.1.2.3")))) is not None


def test_a_form_is_allowed_by_a_network_of_its_own() -> None:
    assert allowing("64:ff9b::a00:0/104").denial("64:ff9b::10.1.2.3") is None


@pytest.mark.parametrize("text", ["10.0.0.0/8", " 10.0.0.0/8 ", "fd00::/8", "10.1.2.3", "::1", "0.0.0.0/0"])
def test_networks_are_taken(text: str) -> None:
    assert parse_network(text).version in (4, 6)


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "example.com", "fe80::1%eth0", "::ffff:10.0.0.0/104"]
)
def test_what_is_no_network_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        parse_network(text)
    assert "\n" not in str(refused.value)


@given(anything=st.one_of(st.text(), st.ip_addresses().map(str)))
def test_any_text_gets_a_verdict(anything: str) -> None:
    verdict = GUARD.denial(anything)
    if verdict is None:
        ip_address(anything.partition("%")[0])


def test_the_verdict_is_the_same_for_every_spelling_of_an_ipv6_address() -> None:
    spellings: list[Any] = ["::ffff:7f00:1", "::FFFF:127.0.0.1", "0:0:0:0:0:ffff:7f00:0001"]
    assert len({GUARD.denial(spelling) for spelling in spellings}) == 1
