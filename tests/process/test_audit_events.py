"""``--audit-events all`` in the real program: a line for each outcome, with the reason that the metrics have."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from courier.board.tally import REASONS, reason_place
from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT, Api, by_reason
from tests.process.world import OK, Courier, Delivery, Queue, Recipient, bodies, totals, until

STATUSES = (503, 429, 404, 302, 422)


def fail_first(delivery: Delivery) -> Response:
    """Fail the first attempt of some messages, and refuse one kind for good."""
    number = json.loads(delivery.body)["n"]
    if number % 16 == 4:
        return Response(422)
    return Response(STATUSES[number % 16]) if number % 16 < 4 and delivery.number == 1 else OK


def tried(lines: list[dict[str, Any]]) -> Counter[str]:
    """Count the lines of failed attempts by the reasons of the metrics."""
    return Counter(
        REASONS[reason_place(line["status"], line["reason"])]
        for line in lines
        if line["outcome"] in ("retry", "rejected")
    )


@pytest.mark.parametrize(
    ("fifo", "failure_queue", "policy"),
    [(False, True, "required"), (True, True, "best-effort"), (True, False, "required"), (False, False, "best-effort")],
)
def test_each_failed_attempt_has_one_line_and_each_record_is_the_same_as_without(
    virtual_queue: str, recipient: Recipient, start: Start, fifo: bool, failure_queue: bool, policy: str
) -> None:
    recipient.behave = fail_first
    # In the end the redrive policy takes what no failure queue does.
    queue, _ = Queue.with_dead_letters(virtual_queue, 3, fifo=fifo)
    failures = Queue(virtual_queue, fifo=fifo)
    options = ["--failure-queue", failures.name] if failure_queue else []
    # A message that is always refused holds up its group, until it has cost the rest of it all receives.
    groups = [f"poison{n}" if n % 16 == 4 else f"g{n % 8}" for n in range(96)]
    queue.send(bodies(96), groups if fifo else None)
    courier = start(
        queue,
        *options,
        "--audit-events",
        "all",
        "--audit-policy",
        policy,
        "--backoff-base",
        "0.1",
        "--backoff-cap",
        "1",
        "--reject-share",
        "0",
        COURIER_API=ANY_PORT,
        COURIER_WAIT_TIME="1",
    )
    api = Api(courier)
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    retried = by_reason(api.metrics())
    until(lambda: tried(courier.events()) == retried, 10, lambda: f"{tried(courier.events())} {retried}")
    lines = courier.events()
    assert {line["worker"].split()[0] for line in lines} <= {"sender", "auditor"}
    assert all(line["attempt"] >= line["receive_count"] >= 1 for line in lines if line["outcome"] == "retry")
    assert any(line["outcome"] == "rejected" for line in lines) != failure_queue
    # No record is missing, and no event counts as one.
    expected = 96 if failure_queue else 90
    assert len(courier.recorded()) == expected
    assert api.metrics()["courier_recorded_total"] == courier.recorded().total()
    until(lambda: api.metrics()["courier_audit_events_total"] == len(lines), 10, courier.log)
    check_drain(courier, queue, recipient, retried)


def check_drain(courier: Courier, queue: Queue, recipient: Recipient, retried: dict[str, float]) -> None:
    """Stop it with work under way: what is returned has a line too."""
    recipient.behave = lambda delivery: Response(503)
    before = len(recipient.deliveries)
    queue.send(bodies(40), [f"g{n % 8}" for n in range(40)] if queue.url.endswith(".fifo") else None)
    until(lambda: len(recipient.deliveries) > before + 20, 30, courier.log)
    assert courier.drain() == 0, courier.log()
    lines, counted = courier.events(), totals(courier.log())
    assert tried(lines).total() == counted["retried"]
    outcomes = Counter(line["outcome"] for line in lines)
    assert (outcomes["released"], outcomes["lapsed"]) == (counted["released"], counted["lapsed"])


def test_a_row_of_text_has_no_place_for_events(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--audit-events", "all", "--audit-format", "text", ready=False)
    assert courier.wait(20) == 2
    assert courier.log().startswith("courier: error: --audit-events: all needs --audit-format json")
