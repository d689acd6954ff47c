from __future__ import annotations

from scripts.faults.deliveries import Deliveries
from scripts.faults.events import Delivery, digest
from tests.unit.faults.recipient_client import new_id


def test_what_goes_in_comes_out_in_order_of_arrival() -> None:
    deliveries = Deliveries()
    first, second = new_id(), "not a UUID"
    row = deliveries.arrive(1.5, first, digest(b"a"), 40000)
    deliveries.arrive(2.5, second, digest(b"b"), 65535)
    deliveries.answer(row, 3.5, first, 204)
    assert list(deliveries) == [
        Delivery(1.5, 3.5, first, 204, digest(b"a"), 40000),
        Delivery(2.5, None, second, 0, digest(b"b"), 65535),
    ]
    assert deliveries[-1] == deliveries[1]
    assert deliveries[:1] == [deliveries[0]]


def test_an_id_that_only_resembles_a_uuid_stays_as_it_is() -> None:
    deliveries = Deliveries()
    names = [new_id().upper(), new_id().replace("-", "0"), "0" * 36, "", "-" * 36]
    for name in names:
        deliveries.arrive(0.0, name, digest(b""), 1)
    assert [delivery.message_id for delivery in deliveries] == names


def test_whole_answers_of_2xx_are_accepted_and_no_others() -> None:
    deliveries = Deliveries()
    for status in (200, 299, 300, 503):
        row = deliveries.arrive(0.0, f"answered {status}", digest(b""), 1)
        deliveries.answer(row, 1.0, f"answered {status}", status)
    deliveries.begin_answer(deliveries.arrive(0.0, "begun", digest(b""), 1), 200)
    assert deliveries.accepted == {"answered 200": 1, "answered 299": 1}
    assert deliveries[-1] == Delivery(0.0, None, "begun", 200, digest(b""), 1)


def test_what_ended_since_then_is_found_by_port() -> None:
    deliveries = Deliveries()
    rows = [
        deliveries.arrive(at, name, digest(b""), port)
        for at, name, port in [
            (1.0, "settled long ago", 1),
            (2.0, "answered late", 1),
            (3.0, "never answered", 1),
            (12.0, "another's", 2),
            (13.0, "answered", 1),
            (14.0, "just arrived", 1),
        ]
    ]
    for row, at in ((0, 1.5), (1, 11.0), (3, 12.5), (4, 13.5)):
        deliveries.answer(rows[row], at, deliveries[row].message_id, 200)
    assert deliveries.since(10.0, {1}) == {"answered late", "answered", "just arrived"}
    assert deliveries.since(10.0, {1, 2}) == {"answered late", "answered", "just arrived", "another's"}
    assert deliveries.since(10.0, ()) == frozenset()
