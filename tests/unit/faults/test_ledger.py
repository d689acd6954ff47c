"""A long trial is judged slice by slice: what a slice says is what the whole would say."""

from __future__ import annotations

from scripts.faults.deliveries import Deliveries
from scripts.faults.events import Deleted, Delivery, Held, Received, Sent
from scripts.faults.feeder import Sample
from scripts.faults.ledger import Ledger, rows_before, take_before

DIGEST = bytes(16)
END = float("inf")


def sent(*names: str) -> list[Sent]:
    return [Sent(1.0, name, "", DIGEST) for name in names]


def delivered(name: str, at: float = 2.0) -> Delivery:
    return Delivery(at, at + 0.1, name, 200, DIGEST, 1)


def deleted(name: str, at: float = 3.0) -> Deleted:
    return Deleted(at, name, recorded=True, done=True)


def settled(*names: str) -> Ledger:
    ledger = Ledger()
    ledger.add(sent(*names), map(delivered, names), [Received(1.5, name, "r") for name in names], map(deleted, names))
    return ledger


def test_what_was_deleted_before_the_time_is_judged_and_forgotten() -> None:
    ledger = settled("a", "b")
    ledger.add(sent("c"), [], [], [])
    assert ledger.judge(10.0, [], {"a", "b"}) == {"a", "b"}
    assert set(ledger.ids) == {"c"}
    assert ledger.failures() == []


def test_what_was_deleted_after_the_time_is_judged_later() -> None:
    ledger = settled("a")
    assert ledger.judge(2.5, [], {"a"}) == set()
    assert ledger.judge(10.0, [], {"a"}) == {"a"}


def test_what_is_never_delivered_is_lost_at_the_end() -> None:
    ledger = settled("a")
    ledger.add(sent("b"), [], [], [])
    ledger.judge(10.0, [], {"a"})
    assert ledger.failures() == []
    ledger.judge(END, [], {"a"})
    assert ledger.totals()["lost"] == 1


def test_what_is_deleted_without_a_record_is_unrecorded() -> None:
    ledger = settled("a", "b")
    ledger.judge(10.0, [], {"a"})
    assert ledger.totals()["unrecorded"] == 1


def test_a_reason_is_kept_until_its_message_is_settled() -> None:
    ledger = Ledger()
    ledger.add(sent("a"), [delivered("a")], [], [])
    ledger.judge(10.0, [Held(2.0, "kill", frozenset({"a"}))], set())
    ledger.add([], [delivered("a", 11.0)], [], [deleted("a", 12.0)])
    ledger.judge(20.0, [], {"a"})
    assert ledger.failures() == []
    assert ledger.totals()["explained"] == {"kill": 1}


def test_a_delivery_after_a_message_is_settled_is_a_duplicate_that_nothing_explains() -> None:
    ledger = settled("a")
    ledger.judge(10.0, [], {"a"})
    ledger.add([], [delivered("a", 90.0)], [], [])
    assert ledger.totals()["unexplained"] == 1
    assert ledger.failures()


def test_a_stall_that_two_slices_share_is_seen_whole() -> None:
    ledger = Ledger()
    samples = [Sample(at / 10, 1, 0) for at in range(200)]
    ledger.see_stalls(samples[:100], [], [delivered("a", 0.0), delivered("b", 8.0)])
    ledger.see_stalls(samples[100:], [], [delivered("c", 15.0), delivered("d", 16.0)])
    assert ledger.stall == 8.0
    assert round(ledger.stall_at, 1) == 0.0


def test_events_are_taken_from_the_front() -> None:
    events = [Received(at, "a", "r") for at in (1.0, 2.0, 3.0)]
    assert [each.at for each in take_before(events, 2.5)] == [1.0, 2.0]
    assert [each.at for each in events] == [3.0]
    assert [each.at for each in take_before(events, END)] == [3.0]


def test_rows_are_read_up_to_a_time() -> None:
    deliveries = Deliveries()
    for at in (1.0, 2.0, 3.0):
        deliveries.arrive(at, "a", DIGEST, 1)
    assert [row.arrived for row in rows_before(deliveries, 1, 2.5)] == [2.0]
