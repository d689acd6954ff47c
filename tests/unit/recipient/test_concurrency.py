"""How many deliveries a sender may have in flight, and its share of the limit of all."""

from __future__ import annotations

from courier.recipient.breaker import BreakerOptions
from courier.recipient.policy import Retry
from tests.unit.recipient.senders import FAULT, LATER, START, Senders


def test_each_fault_in_a_row_takes_a_slot_down_to_one_and_a_good_answer_gives_all_back() -> None:
    senders = Senders(breaker=BreakerOptions(0, 1.0, 1.0))
    (gate,) = senders.all
    limits = []
    for n in range(9):
        gate.record_failure_to_deliver(FAULT, 0.1, 1, LATER + n / 100)
        limits.append(gate.limit)
    assert limits == [7, 6, 5, 4, 3, 2, 1, 1, 1]
    assert gate.record_delivery(0.1, 1, LATER + 1)
    assert gate.limit == 8
    assert not gate.record_delivery(0.1, 1, LATER + 1)


def test_a_failure_that_is_no_fault_of_the_recipient_takes_no_slot() -> None:
    senders = Senders()
    senders.all[0].record_failure_to_deliver(Retry(1.0, "status 404", 404), 0.1, 1, LATER)
    assert senders.all[0].limit == 8


def test_a_limit_in_flight_is_parted_among_those_that_are_alive() -> None:
    senders = Senders(3, in_flight=10)
    senders.refresh(LATER)
    assert sum(gate.limit for gate in senders.all) == 10
    senders.gone(1)
    senders.all.pop(1)
    senders.refresh(LATER)
    assert [gate.limit for gate in senders.all] == [5, 5]


def test_the_first_to_start_takes_no_more_than_its_part_of_a_limit_in_flight() -> None:
    senders = Senders(4, in_flight=4)
    for index in range(1, 4):
        senders.gone(index)
    first = senders.join(0, START)
    first.begin(START)
    first.record_delivery(0.0, 1, START)
    assert first.limit == 1
    first.refresh(LATER)
    assert first.limit == 4
