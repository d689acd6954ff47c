"""What the platform's answers announce; the examples are those of AWS's documentation."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.leaving.notice import (
    Notice,
    Unreadable,
    lifecycle_notice,
    rebalance_notice,
    spot_notice,
    task_notice,
)

READERS: list[Callable[[str], Notice | None]] = [
    spot_notice,
    lifecycle_notice,
    task_notice,
    lambda answer: rebalance_notice(answer, drains=True),
]


@pytest.mark.parametrize("action", ["terminate", "stop"])
def test_a_spot_notice_drains_by_its_time(action: str) -> None:
    notice = spot_notice(f'{{"action": "{action}", "time": "2017-09-18T08:22:00Z"}}')
    assert notice == Notice("spot", action, 1505722920.0, drains=True)


def test_a_machine_that_hibernates_drains_nothing() -> None:
    assert spot_notice('{"action": "hibernate", "time": "2017-09-18T08:22:00Z"}').drains is False


def test_a_spot_notice_with_an_unreadable_time_still_drains() -> None:
    for time in ('"soon"', "null", "17", '"2017-99-18T08:22:00Z"'):
        notice = spot_notice(f'{{"action": "terminate", "time": {time}}}')
        assert (notice.at, notice.drains) == (None, True)


def test_a_rebalance_drains_only_if_it_is_wanted() -> None:
    answer = '{"noticeTime": "2020-10-27T08:22:00Z"}'
    assert [rebalance_notice(answer, drains=drains).drains for drains in (False, True)] == [False, True]
    assert rebalance_notice(answer, drains=True).at is None


@pytest.mark.parametrize("state", ["Terminated", "Warmed:Terminated", "Warmed:Stopped", "Terminated\n"])
def test_states_in_which_the_machine_ends_drain(state: str) -> None:
    assert lifecycle_notice(state) == Notice("lifecycle", state.strip())


@pytest.mark.parametrize(
    "state", ["InService", "Detached", "Standby", "Warmed:Running", "Warmed:Hibernated", "", "terminated", "<html>"]
)
def test_other_states_and_anything_else_are_no_notice(state: str) -> None:
    assert lifecycle_notice(state) is None


def test_a_task_is_to_be_stopped_or_not() -> None:
    assert task_notice('{"DesiredStatus": "STOPPED", "KnownStatus": "RUNNING"}') == Notice("task", "STOPPED")
    assert task_notice('{"DesiredStatus": "RUNNING", "KnownStatus": "RUNNING"}') is None


@given(
    st.sampled_from(READERS),
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.dictionaries(
            st.sampled_from(["action", "time", "noticeTime", "DesiredStatus"]) | st.text(), inner
        ),
    ).map(json.dumps),
)
def test_an_answer_is_a_notice_none_or_unreadable_whatever_it_holds(
    read: Callable[[str], Notice | None], answer: str
) -> None:
    with contextlib.suppress(Unreadable):
        notice = read(answer)
        assert notice is None or notice.what.isprintable()
