"""The way of received messages to the senders of their route: which messages go where, and which are hidden for now."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import NamedTuple

from courier.message import Message


class Match(NamedTuple):
    """Which messages belong to a route: those with a matching attribute or, without its name, a matching group.

    ``pattern`` is one of :mod:`fnmatch`, in which case counts, and which has to match the whole value.
    """

    attribute: str
    pattern: str


class Router:
    """Finds the route of a message, by its attributes and its group as they were received."""

    def __init__(self, matches: Sequence[Match]) -> None:
        """Of several routes that match, the first one counts."""
        self._matches = [(match.attribute, re.compile(fnmatch.translate(match.pattern)).match) for match in matches]

    def place(self, message: Message) -> int:
        """Return the place of the message's route, from 1; 0 if it belongs to none."""
        for place, (name, matches) in enumerate(self._matches, 1):
            value = _text_of(message, name) if name else message.group
            if value is not None and matches(value):
                return place
        return 0


def _text_of(message: Message, name: str) -> str | None:
    for attribute in message.attributes:
        if attribute.name == name and not attribute.is_binary:
            return attribute.value
    return None


class Packets(NamedTuple):
    """The packets of one batch by the place of their route, and what doesn't go with them.

    ``behind`` are messages of a FIFO group that follow one of another route: they come again after it.
    """

    by_place: dict[int, list[list[Message]]]
    behind: list[Message]


def split_runs(messages: Sequence[Message], router: Router) -> Packets:
    """Cut a batch of a FIFO queue into runs, each of one group and one route.

    Two pools of senders keep no order between them. So a run ends where the route changes, and the rest of the group is
    given back: SQS shows it only after what came before is settled.
    """
    runs: dict[str, tuple[int, list[Message]]] = {}
    behind: list[Message] = []
    cut: set[str] = set()
    for message in messages:
        group = message.group
        if group in cut:
            behind.append(message)
            continue
        place = router.place(message)
        if group not in runs:
            runs[group] = place, [message]
        elif runs[group][0] == place:
            runs[group][1].append(message)
        else:
            cut.add(group)
            behind.append(message)
    by_place: dict[int, list[list[Message]]] = {}
    for place, run in runs.values():
        by_place.setdefault(place, []).append(run)
    return Packets(by_place, behind)


def split_messages(messages: Sequence[Message], router: Router) -> Packets:
    """Divide a batch of a standard queue by route, each message alone."""
    by_place: dict[int, list[list[Message]]] = {}
    for message in messages:
        by_place.setdefault(router.place(message), []).append([message])
    return Packets(by_place, [])
