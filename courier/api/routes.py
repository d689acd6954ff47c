"""The routes as /status and the metrics show them: each pool of senders by the name of its route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from courier.api.observed import Observed
from courier.board.senders import SENDER, sender_roles
from courier.process import scoreboard
from courier.process.scoreboard import READY, Scoreboard
from courier.recipient.breaker import STATE_NAMES

DEFAULT: Final = "default"
"""The name of the pool of ``--recipient-url``, which no route may have."""

COUNTS: Final = {
    "delivered": scoreboard.DELIVERED,
    "retried": scoreboard.RETRIED,
    "rejected": scoreboard.REJECTED,
}
"""The counts of a route that its senders keep."""

GAUGES: Final = {"limit": scoreboard.LIMIT, "in_flight": scoreboard.IN_FLIGHT, "kept": scoreboard.KEPT}


class Pool(NamedTuple):
    """The senders of a route: its ``name``, their role, and their place among the words of the consumers."""

    name: str
    role: str
    place: int


def name_of(role: str) -> str:
    """Return the name of the route whose senders have that role."""
    return role.partition(":")[2] or DEFAULT


def where(role: str) -> str:
    """Return the beginning of a line about the recipient of these senders: nothing for ``--recipient-url``."""
    return "" if role == SENDER else f"route {name_of(role)}: "


def pools(board: Scoreboard) -> Iterator[Pool]:
    """Yield the pools of senders, that of ``--recipient-url`` first."""
    for place, role in enumerate(sender_roles(board)):
        yield Pool(name_of(role), role, place)


def hidden(board: Scoreboard, pool: Pool) -> int:
    """Return how many messages consumers have hidden because the pool had no room for them."""
    return board.total(scoreboard.HIDDEN + pool.place, "consumer")


def routes_status(observed: Observed, now: float) -> list[dict[str, Any]]:
    """Return what /status says of each route, ``--recipient-url`` among them; nothing without routes."""
    board = observed.board
    if len(sender_roles(board)) < 2:
        return []
    depths = observed.depths()
    found = []
    for pool in pools(board):
        recipient = observed.recipient(now, pool.role)
        found.append(
            {
                "name": pool.name,
                "breaker": STATE_NAMES[recipient.state],
                "next_probe_seconds": round(recipient.next_probe, 1),
                "paused_seconds": round(recipient.paused, 1),
                "refused": recipient.refused,
                "senders": sum(slot.words[scoreboard.STATE] == READY for slot in board.beating(pool.role, now)),
                **{name: board.gauge(word, now, pool.role) for name, word in GAUGES.items()},
                "queued": depths[pool.role.replace(SENDER, "work", 1)].waiting,
                "totals": {
                    **{name: board.total(word, pool.role) for name, word in COUNTS.items()},
                    "hidden": hidden(board, pool),
                },
            }
        )
    return found
