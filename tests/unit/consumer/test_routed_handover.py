"""Which route a message belongs to, how runs are cut, and for how long what has no room is hidden."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.consumer.routed_handover import LAST_CLOSED_SECONDS, LAST_SECONDS, hidden_seconds
from courier.consumer.routing import Match, Router, split_messages, split_runs
from courier.lease import MAX_HIDDEN_SECONDS
from courier.message import Attribute, Message

ROUTER = Router([Match("kind", "a*"), Match("", "b*"), Match("kind", "ab")])


def message(n: int = 0, kind: str = "", group: str = "", data_type: str = "String") -> Message:
    attributes = (Attribute("kind", data_type, kind),) if kind else ()
    return Message(f"m{n}", "r", 0.0, 0.0, 1, 0, 0, "", group, "", attributes, b"")


def test_the_first_route_that_matches_the_whole_value_counts() -> None:
    assert ROUTER.place(message(kind="abc", group="b")) == 1
    assert ROUTER.place(message(kind="xab", group="b1")) == 2
    assert ROUTER.place(message(kind="ab")) == 1
    assert ROUTER.place(message(kind="A")) == 0
    assert ROUTER.place(message(kind="xa")) == 0
    assert ROUTER.place(message(kind="YWI=", data_type="Binary.png")) == 0
    assert ROUTER.place(message(kind="ab", data_type="String.x")) == 1


MESSAGES = st.lists(
    st.builds(message, st.integers(), st.sampled_from(["", "a", "x"]), st.sampled_from(["b", "c", "d"]))
)


@given(MESSAGES)
def test_each_message_is_in_one_packet_of_its_route_or_behind_one_of_another(messages: list[Message]) -> None:
    runs = split_runs(messages, ROUTER)
    placed = [(place, run) for place, those in runs.by_place.items() for run in those]
    assert sorted([id(m) for _, run in placed for m in run] + [id(m) for m in runs.behind]) == sorted(map(id, messages))
    for place, run in placed:
        assert {ROUTER.place(each) for each in run} == {place}
        assert len({each.group for each in run}) == 1
    for group in {each.group for each in messages}:
        of_group = [each for each in messages if each.group == group]
        [run] = [run for _, run in placed if run[0].group == group]
        assert [*run, *(each for each in runs.behind if each.group == group)] == of_group, "in order, the first ones go"


@given(MESSAGES)
def test_on_a_standard_queue_each_message_goes_by_itself(messages: list[Message]) -> None:
    found = split_messages(messages, ROUTER)
    assert not found.behind
    for place, packets in found.by_place.items():
        assert [[each] for each in messages if ROUTER.place(each) == place] == packets


@given(st.integers(1, 1000), st.booleans())
def test_without_a_redrive_policy_an_hour_of_outage_costs_few_receives(receives: int, is_closed: bool) -> None:
    assert 5.0 <= hidden_seconds(receives, None, is_closed=is_closed) <= 3600.0
    hidden, passed = 0, 0.0
    while passed < 3600.0:
        hidden += 1
        passed += hidden_seconds(hidden, None, is_closed=is_closed)
    assert hidden <= 6


@given(st.integers(2, 1000), st.booleans())
def test_the_receives_that_a_redrive_policy_allows_last_for_hours(most: int, is_closed: bool) -> None:
    pauses = [hidden_seconds(n, most, is_closed=is_closed) for n in range(1, most)]
    assert sum(pauses) >= (LAST_CLOSED_SECONDS if is_closed else LAST_SECONDS)
    assert pauses == sorted(pauses)
    assert pauses[-1] < MAX_HIDDEN_SECONDS
