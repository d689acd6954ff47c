"""Notices: what the answers of EC2 and ECS announce. Pure: an answer goes in, a notice comes out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from courier.process.departure import LIFECYCLE, REBALANCE, SPOT, TASK

HIBERNATE: Final = "hibernate"

LEAVING_STATES: Final = ("Terminated", "Warmed:Terminated", "Warmed:Stopped")
"""Target lifecycle states in which the machine ends: it is terminated, or powered off until the group needs it."""


class Notice(NamedTuple):
    """An announcement: its ``kind``, one of :data:`courier.process.departure.NOTICES`, and what happens, in one word.

    ``at`` is when it happens, in Unix time, ``None`` if the answer doesn't say. ``drains`` is false for one that is
    only shown.
    """

    kind: str
    what: str
    at: float | None = None
    drains: bool = True


class Unreadable(ValueError):
    """An answer that isn't what the documentation describes. Its text says what is wrong with it."""


def spot_notice(answer: str) -> Notice:
    """Return the notice of ``spot/instance-action``. Raise Unreadable.

    A machine that hibernates stops at the notice, with no time to drain, and goes on later where it was.
    """
    fields = _object(answer)
    action = fields.get("action")
    if not isinstance(action, str) or not action.isalpha():
        raise Unreadable("there is no action in it")
    return Notice(SPOT, action, _time(fields.get("time")), drains=action != HIBERNATE)


def rebalance_notice(answer: str, *, drains: bool) -> Notice:
    """Return the notice of ``events/recommendations/rebalance``. Raise Unreadable.

    It has no time: the machine may run for hours, or get the notice of its end at the same moment.
    """
    if _time(_object(answer).get("noticeTime")) is None:
        raise Unreadable("there is no noticeTime in it")
    return Notice(REBALANCE, "rebalance", drains=drains)


def lifecycle_notice(answer: str) -> Notice | None:
    """Return the notice of ``autoscaling/target-lifecycle-state``, ``None`` while the instance is to serve."""
    state = answer.strip()
    return Notice(LIFECYCLE, state) if state in LEAVING_STATES else None


def task_notice(answer: str) -> Notice | None:
    """Return the notice of ECS's task metadata (version 4), ``None`` while the task is to run. Raise Unreadable."""
    desired = _object(answer).get("DesiredStatus")
    if not isinstance(desired, str):
        raise Unreadable("there is no DesiredStatus in it")
    return Notice(TASK, desired) if desired == "STOPPED" else None


def _object(answer: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Unreadable("it isn't a JSON object")
    return found


def _time(text: object) -> float | None:
    """Return a time in RFC 3339 as Unix time, ``None`` if it is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() if found else None
