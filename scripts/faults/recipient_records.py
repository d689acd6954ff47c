"""What a recipient has seen, and what it is to do, shared by its connections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.faults.deliveries import Deliveries
from scripts.faults.events import Held
from scripts.faults.recipient_behaviours import OK, Plan

if TYPE_CHECKING:
    from scripts.faults.recipient_connection import RecipientConnection


@dataclass
class Records:
    """The records; only the loop of the recipient changes them.

    ``open`` has the requests without an answer, by message id and the client's port, with their time of arrival.
    ``redirected`` counts the requests that followed a redirect, ``strays`` those that name no message, ``hits`` how
    often each kind of behaviour was shown.
    """

    deliveries: Deliveries = field(default_factory=Deliveries)
    open: dict[tuple[str, int], float] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    connections: set[RecipientConnection] = field(default_factory=set)
    plan: Plan = field(default_factory=lambda: Plan([OK]))
    hits: Counter[str] = field(default_factory=Counter)
    redirect_url: str = ""
    redirected: int = 0
    strays: int = 0
