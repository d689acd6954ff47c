"""The judge of a trial: each column of its verdict, and what doesn't change it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.faults.events import Deleted, Delivery, Held, Received, Sent, Window, digest
from scripts.faults.fault import Limits
from scripts.faults.feeder import Sample
from scripts.faults.oracle import Seen, judge, longest_stall, shown

ANY = Limits(stall=None)


def accept(name: str, at: float, *, status: int = 200, seconds: float = 0.1, body: str | None = None) -> Delivery:
    """Return a request at ``at`` with the whole answer after it."""
    return Delivery(at, at + seconds, name, status, digest((body or name).encode()), 40_000)


def unanswered(name: str, at: float) -> Delivery:
    return accept(name, at)._replace(answered=None, status=0)


def right(count: int = 4, groups: int = 0) -> Seen:
    """Return a trial in which all went as promised: a message a second, delivered at once."""
    names = [f"m{number}" for number in range(count)]
    return Seen(
        sent=[
            Sent(float(at), name, f"g{at % groups}" if groups else "", digest(name.encode()))
            for at, name in enumerate(names)
        ],
        deliveries=[accept(name, at + 0.2) for at, name in enumerate(names)],
        received=[Received(at + 0.1, name, f"receipt of {name}") for at, name in enumerate(names)],
        deletes=[Deleted(at + 0.4, name, True, True) for at, name in enumerate(names)],
        recorded=set(names),
    )


@given(st.integers(0, 20), st.integers(0, 5))
def test_a_trial_in_which_all_went_as_promised_has_no_failures(count: int, groups: int) -> None:
    verdict = judge(right(count, groups))
    assert verdict.failures(Limits(receives=1)) == []
    assert verdict.sent == count
    assert verdict.duplicates == 0


def test_an_empty_trial_has_a_verdict() -> None:
    verdict = judge(Seen([], [], [], [], set()))
    assert verdict.failures(Limits(receives=1)) == []
    assert (verdict.receives, verdict.most_receives, verdict.stall) == (0, 0, 0)


@given(st.integers(1, 12), st.integers(0, 3), st.data())
def test_a_message_without_its_accept_is_lost_and_it_alone(count: int, groups: int, data: st.DataObject) -> None:
    seen = right(count, groups)
    name = data.draw(st.sampled_from([sent.message_id for sent in seen.sent]))
    verdict = judge(replace(seen, deliveries=[each for each in seen.deliveries if each.message_id != name]))
    assert verdict.lost == {name}
    assert verdict.failures(ANY) == [f"1 lost: {name}"]


@pytest.mark.parametrize(
    "delivery",
    [
        unanswered("m0", 0.2),
        accept("m0", 0.2, status=503),
        accept("m0", 0.2, status=302),
        accept("m0", 0.2)._replace(answered=None),
    ],
    ids=["no answer", "503", "redirect", "half an answer"],
)
def test_only_a_whole_2xx_is_a_delivery(delivery: Delivery) -> None:
    assert judge(replace(right(1), deliveries=[delivery])).lost == {"m0"}


def test_a_message_that_lies_in_a_queue_is_not_lost() -> None:
    seen = replace(right(1), deliveries=[])
    for kept in (replace(seen, left={"m0": b""}), replace(seen, dead={"m0": b""}), replace(seen, rejected={"m0"})):
        assert not judge(kept).lost


def test_a_message_that_stays_in_the_queue_is_stuck() -> None:
    verdict = judge(replace(right(2), left={"m1": b""}))
    assert verdict.failures(ANY) == ["1 still in the queue: m1"]
    assert verdict.failures(replace(ANY, stuck=1)) == []


def test_dead_letters_are_limited() -> None:
    verdict = judge(replace(right(2), dead={"m1": b""}))
    assert verdict.failures(ANY) == ["1 dead letters, at most 0 expected: m1"]
    assert verdict.failures(replace(ANY, dead=1)) == verdict.failures(replace(ANY, dead=None)) == []


def test_an_altered_body_is_altered_and_no_delivery() -> None:
    verdict = judge(replace(right(1), deliveries=[accept("m0", 0.2, body="another")]))
    assert verdict.altered == verdict.lost == {"m0"}
    assert verdict.failures(ANY) == ["1 lost: m0", "1 altered: m0"]


def test_a_delete_before_the_record_is_durable_is_unrecorded_even_if_sqs_refuses_it_and_the_record_follows() -> None:
    for done in (True, False):
        early = Deleted(0.3, "m0", False, done)
        verdict = judge(replace(right(1), deletes=[early, Deleted(0.5, "m0", True, True)]))
        assert verdict.unrecorded == {"m0"}


def test_a_deleted_message_whose_record_is_gone_in_the_end_is_unrecorded() -> None:
    assert judge(replace(right(2), recorded={"m0"})).failures(ANY) == ["1 unrecorded: m1"]


def test_a_message_that_was_not_deleted_needs_no_record() -> None:
    seen = replace(right(1), recorded=set(), deletes=[Deleted(0.4, "m0", True, False)], left={"m0": b""})
    assert not judge(seen).unrecorded


def test_what_nobody_sent_is_no_matter_of_the_record() -> None:
    assert not judge(replace(right(1), deletes=[Deleted(0.4, "", False, True)])).unrecorded


def test_a_program_without_records_has_nothing_unrecorded() -> None:
    assert not judge(replace(right(2), recorded=set(), unaudited=True)).unrecorded


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 3), st.data())
def test_each_time_that_a_fault_held_a_message_explains_one_duplicate(
    count: int, more: int, held: int, data: st.DataObject
) -> None:
    seen = right(count)
    name = data.draw(st.sampled_from([sent.message_id for sent in seen.sent]))
    again = [accept(name, 100.0 + number) for number in range(more)]
    faults = [Held(50.0 + number, f"kill {number}", frozenset({name})) for number in range(held)]
    verdict = judge(replace(seen, deliveries=[*seen.deliveries, *again], held=faults))
    assert verdict.duplicates == more
    assert verdict.explained.total() == min(more, held)
    assert verdict.unexplained == ({name} if more > held else set())
    assert bool(verdict.failures(ANY)) == (more > held)


def test_a_duplicate_is_attributed_to_the_fault_that_held_the_message() -> None:
    held = [Held(0.3, "kill of the sender", frozenset({"m0", "m1"})), Held(0.4, "answer lost", frozenset({"m2"}))]
    deliveries = [*right(3).deliveries, accept("m0", 9.0), accept("m2", 9.0)]
    verdict = judge(replace(right(3), deliveries=deliveries, held=held))
    assert verdict.explained == {"kill of the sender": 1, "answer lost": 1}
    assert not verdict.failures(ANY)


@pytest.mark.parametrize(
    ("receives", "lost", "unexplained"), [(1, 0, {"m0"}), (2, 0, {"m0"}), (3, 0, set()), (2, 1, set())]
)
def test_where_only_sqs_can_bring_a_message_again_there_are_no_more_duplicates_than_receives(
    receives: int, lost: int, unexplained: set[str]
) -> None:
    seen = right(1)
    held = [Held(1.0 + at, "error of DeleteMessageBatch", frozenset({"m0"}), by_receive=True) for at in range(5)]
    held += [Held(0.5, "answer lost", frozenset({"m0"}))] * lost
    verdict = judge(
        replace(
            seen,
            deliveries=[accept("m0", at) for at in (0.2, 5.0, 9.0)],
            received=[Received(float(at), "m0", f"receipt {at}") for at in range(receives)],
            held=held,
        )
    )
    assert verdict.duplicates == 2
    assert verdict.unexplained == unexplained


@pytest.mark.parametrize("first", [unanswered("m0", 0.1), accept("m0", 0.1, status=503)], ids=["no answer", "503"])
def test_a_retry_of_what_was_not_accepted_is_no_duplicate(first: Delivery) -> None:
    seen = right(1)
    verdict = judge(replace(seen, deliveries=[first, *seen.deliveries]))
    assert verdict.duplicates == 0
    assert verdict.failures(ANY) == []


# Order within a group.


def test_two_messages_of_a_group_that_change_places_are_out_of_order() -> None:
    seen = replace(right(2, groups=1), deliveries=[accept("m1", 0.2), accept("m0", 1.2)])
    assert judge(seen).out_of_order == {"m1"}


def test_a_message_sent_while_the_one_before_it_has_no_answer_is_out_of_order() -> None:
    seen = replace(right(2, groups=1), deliveries=[accept("m0", 0.2, seconds=1.0), accept("m1", 0.7)])
    assert judge(seen).out_of_order == {"m1"}


def test_a_message_overtaken_while_it_waits_for_its_retry_shows_in_the_next_one() -> None:
    failed, retried = accept("m0", 0.2, status=503), accept("m0", 5.0)
    seen = replace(right(2, groups=1), deliveries=[failed, accept("m1", 0.7), retried])
    assert judge(seen).out_of_order == {"m1"}


def test_a_duplicate_after_the_whole_group_is_in_order() -> None:
    seen = right(2, groups=1)
    again = replace(seen, deliveries=[*seen.deliveries, accept("m0", 9.0)])
    assert not judge(again).out_of_order


@pytest.mark.parametrize("groups", [0, 2])
def test_messages_without_a_group_or_of_several_have_no_order(groups: int) -> None:
    seen = replace(right(2, groups=groups), deliveries=[accept("m1", 0.2), accept("m0", 1.2)])
    assert not judge(seen).out_of_order


def test_a_message_whose_answer_may_count_lets_the_next_one_go_from_its_first_delivery_on() -> None:
    first = accept("m0", 0.2)._replace(answered=None)
    seen = replace(right(2, groups=1), deliveries=[first, accept("m1", 0.3), accept("m0", 5.0)])
    assert judge(seen).out_of_order == {"m1"}
    held = [Held(0.2, "answer lost", frozenset({"m0"}))]
    assert not judge(replace(seen, held=held)).out_of_order


def test_a_duplicate_that_no_fault_explains_excuses_no_order() -> None:
    deliveries = [accept("m0", 0.2, seconds=1.0), accept("m1", 0.7), accept("m0", 5.0)]
    verdict = judge(replace(right(2, groups=1), deliveries=deliveries))
    assert verdict.out_of_order == {"m1"}
    assert verdict.unexplained == {"m0"}


def test_a_message_that_never_came_holds_nobody_back() -> None:
    seen = right(3, groups=1)
    verdict = judge(replace(seen, deliveries=[each for each in seen.deliveries if each.message_id != "m1"]))
    assert not verdict.out_of_order
    assert verdict.lost == {"m1"}


# Receives and stalls.


def test_receives_are_counted_for_each_message() -> None:
    received = [Received(1.0, "m0", "a"), Received(2.0, "m0", "b"), Received(1.0, "m1", "c"), Received(3.0, "m0", "d")]
    verdict = judge(replace(right(2), received=received))
    assert (verdict.receives, verdict.most_receives) == (2.0, 3)
    assert verdict.failures(Limits(stall=None, receives=2)) == ["one message was received 3 times, at most 2 expected"]


def samples(*visible: int) -> list[Sample]:
    """Return a count of the visible messages for each second."""
    return [Sample(float(at), count, 0) for at, count in enumerate(visible)]


def test_a_stall_is_the_longest_time_without_a_delivery_while_something_is_visible() -> None:
    deliveries = [accept("m0", 1.0), accept("m1", 5.0), accept("m2", 5.5)]
    assert longest_stall(deliveries, samples(1, 1, 1, 1, 1, 1, 1), []) == (4.0, 1.0)


def test_what_was_not_accepted_ends_no_stall() -> None:
    deliveries = [accept("m0", 1.0), accept("m1", 2.0, status=503), unanswered("m1", 3.0), accept("m1", 5.0)]
    assert longest_stall(deliveries, samples(1, 1, 1, 1, 1, 1, 1), []) == (4.0, 1.0)


def test_an_empty_queue_ends_a_stall() -> None:
    assert longest_stall([accept("m0", 1.0)], samples(0, 1, 1, 0, 1, 1, 0), []) == (1.0, 1.0)
    assert longest_stall([], samples(0, 0, 0), [])[0] == 0.0
    assert longest_stall([], [], [])[0] == 0.0


def test_a_packet_that_nobody_reads_is_a_stall_as_a_visible_message_is() -> None:
    counts = [Sample(0.0, 1, 0), Sample(1.0, 0, 1, 300), Sample(2.0, 0, 1, 300), Sample(3.0, 0, 1), Sample(4.0, 0, 0)]
    assert longest_stall([], counts, []) == (2.0, 0.0)
    assert longest_stall([accept("m0", 0.5)], counts, []) == (1.5, 0.5)


def test_one_count_is_no_span() -> None:
    assert longest_stall([], samples(0, 1, 0), [])[0] == 0.0


def test_a_window_is_no_stall_and_what_lies_around_it_is_two() -> None:
    counts = samples(*[1] * 11)
    assert longest_stall([], counts, [Window(3.0, 9.0, "outage")]) == (3.0, 0.0)
    assert longest_stall([], counts, [Window(-5.0, 50.0, "outage")])[0] == 0.0
    assert longest_stall([], counts, [Window(6.0, 8.0, "b"), Window(1.0, 7.0, "a")]) == (2.0, 8.0)


def test_a_stall_fails_only_above_the_limit_and_where_it_is_judged() -> None:
    verdict = judge(replace(right(1), samples=samples(*[1] * 10)))
    assert verdict.failures(Limits(stall=9.0)) == []
    assert verdict.failures(Limits(stall=2.0)) == ["a stall of 8.8 s, at most 2.0 s expected"]
    assert verdict.failures(Limits(stall=2.0), judge_stall=False) == []


# What changes nothing.


@given(st.integers(1, 15), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_told_changes_nothing(count: int, groups: int, chance: random.Random) -> None:
    seen = right(count, groups)
    names = [sent.message_id for sent in seen.sent]
    deliveries = list(seen.deliveries)
    for name in chance.sample(names, chance.randint(0, count)):
        again = chance.choice((accept, unanswered))
        deliveries.append(again(name, chance.uniform(0.0, 2.0 * count)))
    chance.shuffle(deliveries)
    held = [Held(float(at), f"kill {at}", frozenset(chance.sample(names, chance.randint(0, count)))) for at in range(3)]
    windows = [Window(at, at + 0.5, "outage") for at in (0.5, 0.7, 3.0)]
    before = replace(seen, deliveries=deliveries, held=held, windows=windows, samples=samples(*[1] * count))

    def shuffled(values: list[Any]) -> list[Any]:
        return chance.sample(values, len(values))

    after = replace(
        before,
        deliveries=shuffled(deliveries),
        received=shuffled(list(before.received)),
        deletes=shuffled(list(before.deletes)),
        held=shuffled(held),
        windows=shuffled(windows),
    )
    assert judge(after) == judge(before)


@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_a_fault_more_never_makes_a_verdict_worse(count: int, chance: random.Random) -> None:
    seen = right(count, 2)
    again = [accept(chance.choice(seen.sent).message_id, chance.uniform(0.0, count)) for _ in range(4)]
    seen = replace(seen, deliveries=[*seen.deliveries, *again])
    held = Held(0.5, "kill", frozenset(chance.sample([sent.message_id for sent in seen.sent], 2)))
    before, after = judge(seen), judge(replace(seen, held=[held]))
    assert after.unexplained <= before.unexplained
    assert after.duplicates == before.duplicates
    assert after.lost == before.lost


def test_a_reason_names_a_few() -> None:
    assert shown({"b", "a"}) == "a, b"
    assert shown({f"m{number}" for number in range(7)}) == "m0, m1, m2, m3, m4 …"
