"""A URL in the parts that the wire needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL; :func:`courier.http.url_parsing.read_url` makes it.

    ``scheme`` is ``http`` or ``https``; ``host`` an ASCII name or an address without brackets; ``path`` the
    request target with its query, percent-encoded and safe to write on the wire; ``host_header`` the value of the
    Host header, which leaves out a default port.
    """

    scheme: str
    host: str
    port: int
    path: str
    host_header: str

    @property
    def text(self) -> str:
        """The whole URL again, for log lines."""
        return f"{self.scheme}://{self.host_header}{self.path}"
