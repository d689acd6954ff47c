"""An injury explains only what the process that was hurt had delivered, and what wasn't deleted by then."""

from __future__ import annotations

from scripts.faults.events import Delivery
from scripts.faults.injury import LATE_SECONDS, Injury

DELIVERIES = [Delivery(float(at), at + 0.1, f"m{at}", 200, bytes(16), 1000 + at % 2) for at in range(10)]


class Receiver:
    def __init__(self, *names: str) -> None:
        self._names = names

    def received(self) -> tuple[str, ...]:
        return self._names


def test_what_came_from_the_ports_before_the_kill_may_come_again() -> None:
    held = Injury(5.0, 5.0, "kill", frozenset({1000})).held(DELIVERIES, {})
    assert held.message_ids == {"m0", "m2", "m4"}
    assert held.why == "kill"


def test_a_request_that_was_written_may_be_read_after_the_kill() -> None:
    late = DELIVERIES[6]._replace(arrived=5.0 + LATE_SECONDS / 2)
    assert Injury(5.0, 5.0, "kill", None).held([late], {}).message_ids == {"m6"}


def test_what_was_deleted_before_the_kill_may_not_come_again() -> None:
    held = Injury(3.0, 3.0, "kill", None).held(DELIVERIES, {"m1": 2.0, "m2": 3.5})
    assert held.message_ids == {"m0", "m2", "m3"}


def test_what_another_program_received_is_not_explained() -> None:
    held = Injury(5.0, 5.0, "kill", None, Receiver("m1", "m9")).held(DELIVERIES, {})
    assert held.message_ids == {"m1"}


def test_what_lasts_explains_what_is_delivered_meanwhile() -> None:
    held = Injury(2.0, 4.0, "partition", None).held(DELIVERIES, {"m0": 1.0, "m1": 3.0})
    assert held.message_ids == {"m1", "m2", "m3", "m4"}
