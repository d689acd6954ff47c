"""Messages that can't be sent, because of their own content or of what they point to: what the gate does then."""

from __future__ import annotations

import pytest

from courier.http.answer import Failure
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.advice import OTHERWISE, advice
from courier.recipient.content import NOT_FETCHED, UNDECODABLE, UNSENDABLE, code_of, reason_of
from courier.recipient.phase import Phase
from courier.recipient.policy import DEFAULT_RULES, STATUSES, Backoff, Rejected, Retry, judge
from courier.recipient.refusals import MINIMUM
from courier.recipient.views import read_views
from tests.unit.recipient.senders import LATER, Senders, open_until, opened


def unsendable(senders: Senders, now: float, message_id: str) -> Phase:
    senders.all[0].record_unsendable(UNDECODABLE, message_id, now, is_known=False)
    return senders.all[0].phase


@pytest.mark.parametrize("reason", UNSENDABLE)
def test_what_a_message_itself_causes_is_a_rejection(reason: str) -> None:
    assert judge(Failure(reason, "", 0.0), 1, DEFAULT_RULES, Backoff(1.0, 9.0), 0.5, 0.0) == Rejected(reason, None)


@pytest.mark.parametrize("reason", NOT_FETCHED)
def test_what_could_not_be_fetched_is_a_retry_and_no_fault_of_the_recipient(reason: str) -> None:
    outcome = judge(Failure(reason, "", 0.0), 1, DEFAULT_RULES, Backoff(1.0, 9.0), 0.5, 0.0)
    assert outcome == Retry(0.5, reason, None, fault=False)


@pytest.mark.parametrize("reason", [*UNSENDABLE, *NOT_FETCHED])
def test_each_of_these_reasons_comes_with_advice(reason: str) -> None:
    assert advice(None, reason) not in ("", OTHERWISE)


def test_so_many_that_nothing_can_be_sent_stop_receiving() -> None:
    senders = Senders(reject_share=0.5)
    phases = [unsendable(senders, LATER, f"m{n}") for n in range(MINIMUM)]
    assert phases == [Phase.DELIVERING] * (MINIMUM - 1) + [Phase.STOPPED]
    assert breaker.newest(read_views(senders.board, senders.role, LATER)).refused == MINIMUM


def test_the_reason_stands_on_the_board_where_no_status_of_http_can_be_mistaken_for_it() -> None:
    senders = Senders(reject_share=0.5)
    for n in range(MINIMUM):
        unsendable(senders, LATER, f"m{n}")
    assert reason_of(breaker.newest(read_views(senders.board, senders.role, LATER)).status) == UNDECODABLE
    assert [reason_of(code_of(reason)) for reason in UNSENDABLE] == list(UNSENDABLE)
    assert not any(map(reason_of, STATUSES))
    assert reason_of(0) is None


def test_it_is_no_answer_of_the_recipient() -> None:
    senders = Senders(reject_share=0.5)
    good_at = senders.board.slots("sender")[0].reals[scoreboard.GOOD_AT]
    unsendable(senders, LATER, "a")
    assert senders.board.slots("sender")[0].reals[scoreboard.GOOD_AT] == good_at


@pytest.mark.parametrize("is_own", [True, False])
def test_as_a_probe_it_delivered_nothing_so_the_outage_goes_on_and_a_delivery_ends_it(is_own: bool) -> None:
    senders = Senders(reject_share=0.5)
    half_open = opened(senders)
    senders.refresh(half_open)
    if is_own:
        unsendable(senders, half_open, "a")
    else:
        senders.all[0].record_unsent(Retry(0.0, "no object", None), half_open)
    assert senders.all[0].phase.is_shut
    again = open_until(senders)
    senders.refresh(again)
    assert senders.deliver(0, again + 0.1)
    assert senders.all[0].phase.delivers
