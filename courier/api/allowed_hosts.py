"""The host names of the API, a protection against DNS rebinding.

A web page can make its name resolve to this machine's address, and then read the API as if it were the page's server.
But the Host header still contains the page's name. A page's name can't be an address, and only this machine resolves
loopback names, so both are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from courier.server.loopback import is_address, is_loopback

_AUTHORITY: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,254}))(?::[0-9]{0,5})?")


def host_of(authority: str) -> str | None:
    """Return the host of a Host header or an authority (RFC 9110, 7.2) in lower case, without port and final dot.

    Return ``None`` if it is malformed. An IPv6 address is returned without its brackets.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    if match["v6"] is not None:
        return match["v6"].lower() if is_address(match["v6"]) else None
    return match["name"].lower().removesuffix(".") or None


class Hosts:
    """The allowed host names, in addition to addresses and loopback names."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """``names`` are compared without regard to case or a final dot."""
        self._names = frozenset(name.lower().removesuffix(".") for name in names)

    def admits(self, host: str) -> bool:
        """Return whether requests may use ``host``, a result of :func:`host_of`."""
        return host in self._names or is_address(host) or is_loopback(host)
