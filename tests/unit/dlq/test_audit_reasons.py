"""Reasons from the audit log: the last failure of an id, whatever else the log holds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from courier.audit.record import Rejection
from courier.dlq.audit_reasons import AuditReasons, Stopped
from courier.dlq.dead_letter import BY_ATTRIBUTE, BY_AUDIT, UNKNOWN, DeadLetter, Failure, dead_letter
from courier.errors import CannotStart
from tests.unit.audit.written import Delivery, event, write
from tests.unit.dlq.letters import letter, message


def complete(directory: Path | None, *letters: DeadLetter) -> list[DeadLetter]:
    reasons = AuditReasons(directory)
    try:
        return asyncio.run(reasons.complete(letters))
    finally:
        reasons.close()


def plain(message_id: str) -> DeadLetter:
    return dead_letter(message(message_id=message_id))


def test_the_last_failure_of_an_id_counts_and_a_lapse_only_without_another(tmp_path: Path) -> None:
    write(
        tmp_path,
        1,
        [
            event(message_id="a", reason="status 500", status=500, receive_count=1),
            event(message_id="a", reason="timeout", status=None, receive_count=2, time="2026-11-24T13:00:00.000Z"),
            event(message_id="a", outcome="lapsed", reason="no sender had room before its lease ended"),
            event(message_id="l", outcome="lapsed", reason="its lease ended before it was sent"),
            event(message_id="r", outcome="released", reason="Courier stops"),
            event(message_id="d", outcome="duplicate", reason="its record is durable"),
            b"damaged\n",
            Delivery(message_id="ok").line(),
        ],
    )
    rejection = Rejection("status 422", "orders", "bad content")
    rejected = Delivery(message_id="j", outcome="rejected: status 422", status=422, rejection=rejection)
    write(tmp_path, 2, [rejected.line()], packing=".zst")
    write(tmp_path, 3, [Delivery(message_id="t").line("text")], form=".txt")
    a, lapsed, other, ok, found = (
        each.failure for each in complete(tmp_path, *(plain(name) for name in ("a", "l", "r", "ok", "j")))
    )
    assert a == Failure("timeout", None, "2026-11-24T13:00:00.000Z", "", "", 2, "", BY_AUDIT)
    assert lapsed.reason == "its lease ended before it was sent"
    assert other == ok == UNKNOWN
    assert (found.reason, found.status, found.source_queue, found.answer) == (
        "status 422", 422, "orders", "bad content",
    )  # fmt: skip


def test_what_a_letter_says_itself_comes_first(tmp_path: Path) -> None:
    write(tmp_path, 1, [event(message_id="b-1", reason="status 500", status=500)])
    own, other = complete(tmp_path, letter(), plain("b-1"))
    assert (own.failure.known_from, other.failure.known_from) == (BY_ATTRIBUTE, BY_AUDIT)


def test_without_a_directory_nothing_is_known() -> None:
    assert complete(None, plain("a")) == [plain("a")]


def test_hostile_lines_make_no_failure_of_another_shape(tmp_path: Path) -> None:
    lines = [
        event(message_id=f"h{n}", **fields)
        for n, fields in enumerate(
            [
                {"reason": "x", "status": 99999, "receive_count": "many"},
                {"reason": "x" * 5000, "time": "no time", "receive_count": 2**70 % 2**63},
                {"reason": "\x1b[2J\ud7ff", "receive_count": True},
            ]
        )
    ]
    write(tmp_path, 1, lines)
    for found in complete(tmp_path, *(plain(f"h{n}") for n in range(3))):
        failure = found.failure
        assert failure.reason
        assert failure.status is None
        assert len(failure.reason) <= 1024
        assert type(failure.receive_count) is int
        assert failure.failed_at == "" or failure.failed_at.endswith("Z")


def test_many_failures_are_found_again(tmp_path: Path) -> None:
    write(tmp_path, 1, [event(message_id=f"m{n % 7000}", reason=f"status {n}", status=500) for n in range(21_000)])
    found = complete(tmp_path, *(plain(f"m{n}") for n in range(0, 7000, 500)))
    assert [each.failure.reason for each in found] == [f"status {14_000 + n}" for n in range(0, 7000, 500)]


def test_a_directory_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="correct --audit-path"):
        complete(tmp_path / "gone", plain("a"))


def test_no_file_is_left_and_a_stop_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1, [event(message_id="a", reason="x")])
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(temporary))
    reasons = AuditReasons(tmp_path)
    reasons.stop()
    with pytest.raises(Stopped):
        asyncio.run(reasons.complete([plain("a")]))
    assert complete(tmp_path, plain("a"))[0].failure.reason == "x"
    assert os.listdir(temporary) == []
