"""The faults of recipients as rows describe them."""

from __future__ import annotations

import random
import uuid
from collections import Counter

from scripts.faults.catalogue import ROWS, recipients
from scripts.faults.fault import Fault
from scripts.faults.injectors import INJECTORS
from scripts.faults.injectors.recipients import behaviours_of, is_in_part
from scripts.faults.recipient import Recipient
from scripts.faults.recipient_behaviours import ANSWERS, DOORS, Behaviour, Plan
from tests.unit.faults.recipient_client import OK, connected, new_id


def test_each_behaviour_of_a_recipient_is_in_a_row() -> None:
    faults = [fault for row in recipients.ROWS for fault in row.faults if fault.what == "misbehave"]
    shown = {each.kind for fault in faults for each in behaviours_of(fault)}
    assert shown == {*ANSWERS, *DOORS} - {"ok"}


def test_behaviours_given_evenly_are_chosen_evenly() -> None:
    kinds = ["silent", "close", "garbage", "early"]
    fault = Fault("misbehave", detail={"behaviours": recipients.evenly(0.8, *({"kind": kind} for kind in kinds))})
    plan = Plan(behaviours_of(fault))
    chosen = Counter(plan.of_request(new_id()).kind for _ in range(20_000))
    assert all(0.17 < chosen[kind] / 20_000 < 0.23 for kind in [*kinds, "ok"])
    assert plan.hits == Counter({kind: chosen[kind] for kind in kinds})


def test_a_part_of_the_messages_is_always_the_same_for_a_seed() -> None:
    rng = random.Random(1)
    names = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(4000)]
    part = {name for name in names if is_in_part(0.25, 7, name)}
    assert 0.22 < len(part) / len(names) < 0.28
    assert part == {name for name in names if is_in_part(0.25, 7, name)}
    assert part != {name for name in names if is_in_part(0.25, 8, name)}
    (only,) = behaviours_of(Fault("misbehave", seed=7, detail={"behaviours": [{"kind": "silent", "part": 0.25}]}))
    assert {name for name in names if Plan([only]).of_request(name).kind == "silent"} == part


def test_a_recipient_counts_what_it_did_to_whom() -> None:
    with Recipient() as recipient:
        recipient.behave = Behaviour("close")
        with connected(recipient) as client:
            client.send(new_id())
            client.read_to_end()
        recipient.behave = Behaviour("ok")
        with connected(recipient) as client:
            client.send(new_id())
            assert client.read(len(OK)) == OK
        assert recipient.hits == {"close": 1}


def test_each_fault_of_a_row_can_be_applied() -> None:
    for row in ROWS:
        assert {fault.what for each in filter(None, (row, row.full)) for fault in each.faults} <= INJECTORS.keys()
