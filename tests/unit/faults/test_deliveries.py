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
