"""The address guard: it decides to which addresses Courier may connect, whatever name or spelling led to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

Network = IPv4Network | IPv6Network


class AddressGuard:
    """Denies every address that isn't public unicast, except those in ``allowed``.

    It judges addresses, never names: the caller must connect to the very address that it passes.
    """

    __slots__ = ("_allowed",)

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def denial(self, address: str) -> str | None:
        """Return the rule that denies an address, in the form that ``getaddrinfo`` gives it, or None.

        It ignores a zone (``fe80::1%eth0``). It looks an IPv4-mapped address up in ``allowed`` as the IPv4 address that
        the kernel connects to. A gateway in another network translates the other forms that carry an IPv4 address, so
        only a network of their own allows them.
        """
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return "no address"
        reached = (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
        if any(reached in network for network in self._allowed):
            return None
        return _rule(parsed)


def parse_network(text: str) -> Network:
    """Return the network of 10.0.0.0/8, fd00::/8 or 10.1.2.3; ValueError says what would be right."""
    try:
        network = ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} must be a network like 10.0.0.0/8 or fd00::/8: {error}") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError(f"{text!r} must be written as the IPv4 network that it stands for")
    if "%" in text:
        raise ValueError(f"{text!r} must be without a zone, which plays no part")
    return network


class _Embedding(NamedTuple):
    """A kind of IPv6 address that carries IPv4 addresses; ``parts`` are (bits to the right of one, its XOR mask)."""

    name: str
    network: IPv6Network
    parts: Sequence[tuple[int, int]] = ((0, 0),)

    def rule(self, address: IPv6Address) -> str | None:
        """Return the rule that denies one of the IPv4 addresses in an address, or None."""
        for shift, mask in self.parts:
            carried = IPv4Address(int(address) >> shift & 0xFFFFFFFF ^ mask)
            if (rule := _rule(carried)) is not None:
                return f"{self.name} {carried}, {rule}"
        return None


def _rule(address: IPv4Address | IPv6Address) -> str | None:
    if isinstance(address, IPv6Address):
        for embedding in _EMBEDDINGS:
            if address in embedding.network:
                return embedding.rule(address)
    for name, network in _DENIED:
        if address in network:
            return f"{name} ({network})"
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return f"reserved (outside of {_UNICAST})"
    return None


def _networks(*rules: tuple[str, str]) -> tuple[tuple[str, Network], ...]:
    return tuple((name, ip_network(network)) for name, network in rules)


# From IANA's registries of special-purpose addresses, without the few that everyone may reach (AS112, AMT). They are
# written out, since releases of Python differ in what ipaddress calls private or global.
_DENIED: Final = _networks(
    ("unspecified", "0.0.0.0/32"),
    ("this network", "0.0.0.0/8"),
    ("private", "10.0.0.0/8"),
    ("shared address space of carriers", "100.64.0.0/10"),
    ("loopback", "127.0.0.0/8"),
    # A public number, but each machine on Azure reaches its own host there: metadata, credentials, commands.
    ("Azure's host", "168.63.129.16/32"),
    ("link-local", "169.254.0.0/16"),
    ("private", "172.16.0.0/12"),
    ("reserved", "192.0.0.0/24"),
    ("documentation", "192.0.2.0/24"),
    ("reserved", "192.88.99.0/24"),
    ("private", "192.168.0.0/16"),
    ("benchmarking", "198.18.0.0/15"),
    ("documentation", "198.51.100.0/24"),
    ("documentation", "203.0.113.0/24"),
    ("multicast", "224.0.0.0/4"),
    ("broadcast", "255.255.255.255/32"),
    ("reserved", "240.0.0.0/4"),
    ("unspecified", "::/128"),
    ("loopback", "::1/128"),
    # Deprecated; the public ones among them lead nowhere.
    ("IPv4-compatible", "::/96"),
    # Each network chooses where the IPv4 address stands (RFC 8215), and none of it is public.
    ("local-use NAT64", "64:ff9b:1::/48"),
    # The rest of it, beside Teredo, is for protocols other than HTTP.
    ("reserved", "2001::/23"),
    ("documentation", "2001:db8::/32"),
    ("documentation", "3fff::/20"),
    ("unique local", "fc00::/7"),
    ("link-local", "fe80::/10"),
    ("site-local", "fec0::/10"),
    ("multicast", "ff00::/8"),
)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")

_EMBEDDINGS: Final = (
    _Embedding("IPv4-mapped", _MAPPED),
    _Embedding("NAT64 of", IPv6Network("64:ff9b::/96")),
    _Embedding("6to4 of", IPv6Network("2002::/16"), ((80, 0),)),
    # The server, and the client with its bits inverted (RFC 4380).
    _Embedding("Teredo of", IPv6Network("2001::/32"), ((64, 0), (0, 0xFFFFFFFF))),
)

_UNICAST: Final = IPv6Network("2000::/3")
"""The part of IPv6 that is assigned for public use."""
