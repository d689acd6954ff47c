"""Answers of /status: a full one, and what a broken or hostile program could make of it."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

NOW: Final = 1764150300.0
ESCAPE: Final = "\x1b]0;owned\x07\x1b[31m\u202e\x9b2J\r\n"


def worker(role: str, index: int, state: str = "ready", **more: Any) -> dict[str, Any]:
    pid = 4100 + index + 10 * len(role)
    shown = {"role": role, "index": index, "pid": pid, "state": state, "in_flight": 0, "last_beat_seconds": 0.3}
    return (
        shown | {"restarts": 0, "memory_bytes": 50_000_000, "on_duty": True, "limit": 0, "asked": 0, "held": 0} | more
    )


FULL: Final[dict[str, Any]] = {
    "version": "0.1.0",
    "state": "ready",
    "reasons": [],
    "advice": [],
    "uptime_seconds": 3 * 86400 + 4 * 3600 + 5.5,
    "host": "ip-10-0-3-17",
    "started_at": NOW - 273_605.5,
    "now": NOW,
    "python": "3.11.9",
    "pause": None,
    "leaving": None,
    "settings": {"queue": "orders", "recipient_url": "http://api.internal:8081"},
    "totals": {"delivered": 406_118_204, "retried": 90_211, "rejected": 411, "restarts": 4},
    "rates": {
        "10s": {"received": 1287.0, "delivered": 1284.2, "retried": 2.9, "rejected": 0.2, "deleted": 1284.0},
    },
    "queue": {
        "name": "orders",
        "waiting": 18402,
        "delayed": 12,
        "in_flight": 640,
        "oldest_seconds": 42.0,
        "growth_per_second": -51.3,
        "empty_in_seconds": 240.0,
        "asked_at": NOW - 3,
        "problem": None,
    },
    "dead_letters": [{"queue": "orders-dead", "is": "dead-letter queue", "messages": 411, "problem": None}],
    "latency": {
        "10s": {"delivery": {"p50": 0.012, "p90": 0.031, "p99": 0.084}},
        "60s": {
            "delivery": {"p50": 0.012, "p90": 0.031, "p99": 0.084},
            "end_to_end": {"p50": 42.0, "p90": 43.0, "p99": 50.0},
            "audit_sync": {"p50": 0.001, "p90": 0.002, "p99": 0.004},
        },
    },
    "breaker": {
        "state": "closed",
        "faults_in_a_row": 0,
        "next_probe_seconds": 0.0,
        "openings": 2,
        "history": [{"opened_at": NOW - 1800, "closed_at": NOW - 1620, "reason": "connection refused"}],
        "open_seconds_last_hour": 180.0,
    },
    "paused_seconds": 0.0,
    "limit": 64,
    "in_flight": 52,
    "kept": 0,
    "shortages": {},
    "held": 61,
    "held_bytes": 0,
    "queued": {"work": {"waiting": 12, "bytes": 3_250_586}, "acks": {"waiting": 3, "bytes": 900}},
    "archive": {
        "state": "failing",
        "waiting_segments": 3,
        "waiting_bytes": 1_288_490_188,
        "oldest_seconds": 300.0,
        "last_seconds": 360.0,
    },
    "failures": [
        {
            "time": "2025-11-26T09:44:57.000Z",
            "reason": "5xx",
            "status": 503,
            "count": 198,
            "message_id": "8f0c2b1e-7d43-4c0a-9f7e-51a2c6d0b9e4",
            "attempts": 3,
            "answer": "overloaded",
            "action": "kept, and tried again soon",
            "advice": "see the recipient's log",
            "took_seconds": 0.04,
            "then": "again in 14 s",
        },
        {
            "time": "2025-11-26T09:44:52.000Z",
            "reason": "timeout",
            "status": None,
            "count": 29,
            "message_id": "1be77a90-02fd-4f4e-8a55-0c3fd2a1e6b7",
            "attempts": 1,
            "answer": "",
            "action": "returned to its queue for 1.0 s",
            "advice": "",
            "took_seconds": 30.0,
            "then": "again in 1 s",
        },
    ],
    "configuration": [
        {"option": "senders", "value": "2", "source": "courier.toml", "default": False},
        {"option": "consumers", "value": "2", "source": "default", "default": True},
    ],
    "workers": [
        worker("supervisor", 0),
        worker("api", 0),
        worker("auditor", 0, held=61, restarts=1),
        worker("sender", 0, in_flight=9, limit=16),
        worker("sender", 1, "starting", restarts=3, restarts_by={"exit": 0, "signal": 3, "hung": 0}),
        worker("sender", 2, "down"),
        worker("consumer", 0, asked=80),
        worker("consumer", 1, asked=0, on_duty=False),
    ],
    "control": {"socket": "/run/courier/control.sock", "page": False},
}


def without(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the answer of a Courier that doesn't know these fields."""
    return {name: value for name, value in answer.items() if name not in names}


_VALUES: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from([ESCAPE, ESCAPE * 500, "1e999", "\ud7ff", []]),
)


@st.composite
def hostile(draw: st.DrawFn, answer: dict[str, Any]) -> dict[str, Any]:
    """Replace some values of an answer, at any depth, by anything, and repeat the items of some lists."""

    def spoil(value: Any) -> Any:
        if draw(st.integers(0, 9)) == 0:
            return draw(_VALUES)
        if isinstance(value, dict):
            return {name: spoil(each) for name, each in value.items()}
        if isinstance(value, list):
            return [spoil(each) for each in value] * draw(st.sampled_from([1, 1, 1, 40]))
        return value

    return {name: spoil(value) for name, value in answer.items()}
