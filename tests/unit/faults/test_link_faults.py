"""The faults of the link before a recipient, and what a suspend of the host shows."""

from __future__ import annotations

import pytest

from scripts.faults.catalogue import ROWS
from scripts.faults.events import Delivery, Received
from scripts.faults.injectors.clocks import lapsed
from scripts.faults.injectors.links import state_of
from scripts.faults.proxy import Link


def delivery(at: float, name: str) -> Delivery:
    return Delivery(at, at, name, 200, b"", 1)


def test_what_is_delivered_after_a_suspend_has_to_have_been_received_again() -> None:
    received = [Received(1.0, "old", "r1"), Received(1.0, "again", "r2"), Received(9.0, "again", "r3")]
    assert lapsed([delivery(9.5, "again")], received, suspended=2.0) == []
    assert lapsed([delivery(8.5, "again"), delivery(9.5, "again")], received, suspended=2.0) == ["again"]
    assert lapsed([delivery(9.5, "old")], received, suspended=2.0) == ["old"]


def test_a_link_that_is_sound_is_no_fault() -> None:
    assert state_of({"lose": "to-client"}) == Link(lose="to-client")
    for wrong in ({}, {"latency_seconds": 0.0}, {"speed": 3}):
        with pytest.raises(ValueError, match=r"sound|speed"):
            state_of(wrong)


def test_a_link_is_an_outage_where_nobody_can_connect() -> None:
    assert not Link(latency_seconds=1.0).is_outage
    assert not Link(cut_after_bytes=10).is_outage
    assert Link(lose="to-server").is_outage
    assert Link(black_hole=True).is_outage
    assert Link(reset=True).is_outage


def test_rows_have_what_their_faults_need() -> None:
    for row in [each for short in ROWS for each in (short, short.full) if each is not None]:
        kinds = {fault.what for fault in row.faults}
        assert row.link or not kinds & {"link", "cut"}, row.name
        assert row.clock or not kinds & {"jump", "suspend"}, row.name
        for fault in row.faults:
            assert fault.what != "link" or all(map(state_of, fault.detail["links"]))
