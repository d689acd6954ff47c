from __future__ import annotations

import select

import pytest

from courier.process.bells import NO_BELLS, Bells
from tests.unit.process.waiting import ended, forked, open_descriptors


def rung(bells: Bells) -> list[int]:
    return [index for index in range(len(bells.filenos())) if select.select([bells.fileno(index)], [], [], 0)[0]]


def test_a_ring_of_any_process_is_heard_once_by_the_slot_that_was_rung() -> None:
    bells = Bells.create(3)
    assert rung(bells) == []
    assert ended(forked(lambda: bells.ring(1))) == 0
    bells.ring(1)
    assert rung(bells) == [1]
    bells.hush(1)
    assert rung(bells) == []
    bells.hush(1)
    bells.ring_all()
    assert rung(bells) == [0, 1, 2]
    bells.close()


def test_a_ring_that_nobody_can_hear_is_no_error() -> None:
    NO_BELLS.ring(0)
    NO_BELLS.ring_all()
    assert NO_BELLS.fileno(0) == -1
    bells = Bells.create(1)
    bells.ring(1)
    assert rung(bells) == []
    bells.close()
    bells.ring(0)
    bells.ring_all()


@pytest.mark.parametrize("count", [0, 1, 40])
def test_closed_bells_leave_no_descriptor(count: int) -> None:
    before = open_descriptors()
    bells = Bells.create(count)
    assert open_descriptors() == before + count
    bells.close()
    bells.close()
    assert open_descriptors() == before
