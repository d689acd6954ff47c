"""One call of an action, and what an action answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call: ``now`` is when it came, ``base_url`` the address that the client knows the server by."""

    action: str
    parameters: dict[str, Any]
    now: float
    base_url: str


Answer = dict[str, Any] | Awaitable[dict[str, Any]]
