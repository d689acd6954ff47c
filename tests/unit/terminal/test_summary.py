"""The text of ``courier status``: short and printable whatever /status says, and it says what is wrong."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from courier.terminal.report import Report
from courier.terminal.summary import summary
from tests.unit.terminal.answers import FULL, hostile, without

MOST_LINES = 25


def text(answer: dict[str, Any]) -> str:
    return "\n".join(summary(Report(answer)))


def test_a_well_courier() -> None:
    assert text(FULL).splitlines() == [
        "orders → http://api.internal:8081   ready   up 3 d 4 h · 0.1.0 · ip-10-0-3-17",
        "rates      received 1,287 · delivered 1,284 · retried 2.9 · rejected 0.2 · deleted 1,284 a second (10 s)",
        "latency    p50 12 ms · p90 31 ms · p99 84 ms to deliver; from queue to delivered p50 42 s (60 s)",
        "queue      18,402 waiting, oldest 42 s · 12 delayed · 640 in flight · empty in about 4 min",
        "           dead letters: 411 in orders-dead (dead-letter queue)",
        "recipient  circuit breaker closed · 52 in flight, limit 64 · opened 2×, 3 min of the last hour",
        "inside     12 wait for a sender (3.1 MiB) · 3 for the auditor · 61 unsettled",
        "           archive failing · 3 audit files (1.2 GiB) waiting, oldest 5 min · last took one 6 min ago",
        "processes  2 consumers, 2 senders, auditor, api, supervisor · sender 1 starting · 4 restarts",
        "failures   5xx (503) ×198 · last 3 s ago · 8f0c2b1e-7d43-4c0a-9f7e-51a2c6d0b9e4 · again in 14 s",
        "           timeout ×29 · last 8 s ago · 1be77a90-02fd-4f4e-8a55-0c3fd2a1e6b7 · again in 1 s",
    ]


def test_each_reason_comes_with_its_advice_before_all_else() -> None:
    answer = FULL | {"state": "not ready", "reasons": ["audit failing", "no sender running"], "advice": ["free space"]}
    lines = text(answer).splitlines()
    assert "   not ready   " in lines[0]
    assert lines[1:4] == ["  ! audit failing", "    free space", "  ! no sender running"]


def test_a_pause_and_an_open_breaker_say_who_and_why() -> None:
    pause = {"by": "root (uid 0, pid 4711)", "reason": "deploying", "since": 1764150000.0, "seconds": 12.3}
    breaker = {"state": "open", "faults_in_a_row": 10, "next_probe_seconds": 12.2, "openings": 1}
    shown = text(FULL | {"pause": pause, "breaker": breaker, "paused_seconds": 3.0})
    assert "   ready, paused   " in shown
    assert "paused     by root (uid 0, pid 4711) for 12 s: deploying; courier resume ends it" in shown
    assert "the circuit breaker is open: 5xx, 10 failures in a row; nothing is received meanwhile; next probe" in shown
    assert "the recipient asked us to wait (Retry-After), 3 s more" in shown
    assert "   ready, waiting   " in text(FULL | {"breaker": breaker})


def test_a_notice_of_the_platform_says_what_ends_and_when() -> None:
    spot = {"notice": "spot", "reason": "EC2 reclaims the spot instance", "drains": True, "seconds_left": 118.0}
    assert "leaving    EC2 reclaims the spot instance, 1 min 58 s left\n" in text(FULL | {"leaving": spot})
    advice = spot | {"drains": False, "seconds_left": None}
    assert "leaving    EC2 reclaims the spot instance, going on as before\n" in text(FULL | {"leaving": advice})


def test_an_older_courier_leaves_out_what_it_does_not_know() -> None:
    new = (
        "host",
        "started_at",
        "now",
        "python",
        "pause",
        "leaving",
        "queue",
        "dead_letters",
        "latency",
        "configuration",
    )
    shown = text(without(FULL, *new))
    assert "orders → http://api.internal:8081   ready   up 3 d 4 h · 0.1.0\n" in shown
    assert "None" not in shown
    assert "latency" not in shown
    assert text({"state": "ready"}).startswith("queue → recipient   ready   up –\n")


def test_a_queue_that_cannot_be_asked_says_what_is_missing() -> None:
    shown = text(FULL | {"queue": {"problem": "access denied; allow sqs:GetQueueAttributes"}})
    assert "queue      access denied; allow sqs:GetQueueAttributes" in shown


@given(hostile(FULL))
def test_no_answer_breaks_it_or_reaches_the_terminal_raw(answer: dict[str, Any]) -> None:
    lines = summary(Report(answer))
    assert len(lines) <= MOST_LINES
    assert all(line.isprintable() for line in lines)
    parsed = Report.parse(orjson.dumps(answer))
    assert parsed is not None
    assert all(line.isprintable() for line in parsed.json().splitlines())
    assert orjson.loads(parsed.json()) == orjson.loads(orjson.dumps(answer))


@given(st.binary() | st.sampled_from([b"[]", b"1", b"{", b"null", b"[" * 5000]))
def test_what_is_no_object_is_no_report(body: bytes) -> None:
    assert Report.parse(body) is None or body.strip().startswith(b"{")
