"""Batch calls that SQS refuses whole: which entries are settled, which are blamed, and what that costs in calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courier.errors import SqsError
from courier.sqs.batch import UNANSWERED, EntryFailure, call_in_parts
from courier.sqs.errors import NETWORK, NO_CREDENTIALS, UNREADABLE, UNSENDABLE, Blame, blame
from tests.examples import examples

BUSY: Final = EntryFailure("InternalFailure", "later", sender_fault=False)


def error(code: str, status: int = 400, *, retriable: bool = False) -> SqsError:
    return SqsError("DeleteMessageBatch", code, "as the test wants it", retriable=retriable, status=status)


PROXY_403: Final = error(UNREADABLE, 403, retriable=True)


class Contract:
    """A batch call as SQS and what stands before it make it: one hostile entry refuses all of the call."""

    def __init__(self, hostile: set[int], refusal: SqsError, busy: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.hostile = hostile
        self.busy = busy
        self.refusal = refusal
        self.calls: list[list[int]] = []
        self.settled: list[int] = []

    async def call(self, entries: Sequence[int]) -> list[EntryFailure | None]:
        self.calls.append(list(entries))
        if self.hostile & set(entries):
            raise self.refusal
        self.settled += [entry for entry in entries if entry not in self.busy]
        return [BUSY if entry in self.busy else None for entry in entries]


def call(contract: Contract, count: int, *, in_order: bool = False) -> list[EntryFailure | None]:
    return asyncio.run(call_in_parts(contract.call, range(count), in_order=in_order))


@settings(max_examples=examples(300), deadline=None)
@given(
    count=st.integers(1, 10),
    hostile=st.sets(st.integers(0, 9)),
    refusal=st.sampled_from([error("InvalidParameterValue"), error("RequestEntityTooLarge", 413), PROXY_403]),
    in_order=st.booleans(),
)
@example(count=10, hostile={6}, refusal=PROXY_403, in_order=True)
def test_every_good_entry_is_settled_in_order_and_every_hostile_one_blamed_in_few_calls(
    count: int, hostile: set[int], refusal: SqsError, in_order: bool
) -> None:
    hostile = {entry for entry in hostile if entry < count}
    contract = Contract(hostile, refusal)
    if len(hostile) == count and blame(refusal) is Blame.EITHER:
        with pytest.raises(SqsError):
            call(contract, count, in_order=in_order)
        return
    outcome = call(contract, count, in_order=in_order)
    assert contract.settled == [entry for entry in range(count) if entry not in hostile]
    for entry, failure in enumerate(outcome):
        assert (failure is not None) == (entry in hostile)
        assert failure is None or (failure.code, failure.sender_fault) == (refusal.code, True)
    bad = len(hostile)
    assert len(contract.calls) <= min(2 * count - 1, 1 + 2 * bad * math.ceil(math.log2(max(2, count))))


@settings(max_examples=examples(200), deadline=None)
@given(hostile=st.sets(st.integers(0, 9), max_size=3), busy=st.sets(st.integers(0, 9)))
def test_in_order_no_entry_of_a_later_part_gets_ahead_of_one_that_is_to_be_tried_again(
    hostile: set[int], busy: set[int]
) -> None:
    contract = Contract(hostile, error("InvalidParameterValue"), busy - hostile)
    outcome = call(contract, 10, in_order=True)
    for part in contract.calls[:-1]:
        assert hostile & set(part) or not contract.busy & set(part), "a part was called after one with a busy entry"
    for entry, failure in enumerate(outcome):
        assert (failure is None) == (entry in contract.settled)
        if entry not in hostile:
            assert failure is None or not failure.sender_fault


@pytest.mark.parametrize(
    "refusal",
    [
        error("AccessDenied", 403),
        error("KmsAccessDenied"),
        error("KMS.DisabledException"),
        error("QueueDoesNotExist"),
        error("ExpiredToken", 403, retriable=True),
        error("InvalidClientTokenId", 403),
        error("SignatureDoesNotMatch", 403),
        error("RequestThrottled", 403, retriable=True),
        error("ServiceUnavailable", 503, retriable=True),
        error(NETWORK, 0, retriable=True),
        error(NO_CREDENTIALS, 0, retriable=True),
        error(UNREADABLE, 502, retriable=True),
        error(UNREADABLE, 404, retriable=True),
    ],
)
def test_what_no_entry_is_to_blame_for_is_not_called_in_parts(refusal: SqsError) -> None:
    contract = Contract({3}, refusal)
    with pytest.raises(SqsError):
        call(contract, 10)
    assert len(contract.calls) == 1


def test_an_outage_amid_the_parts_keeps_what_was_settled_and_leaves_the_rest_to_be_tried_again() -> None:
    calls = 0

    async def answer(entries: Sequence[int]) -> list[EntryFailure | None]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error("InvalidParameterValue")
        if calls == 2:
            return [None] * len(entries)
        raise error(NETWORK, 0, retriable=True)

    outcome = asyncio.run(call_in_parts(answer, range(10), in_order=False))
    assert outcome[:5] == [None] * 5
    assert [(f.code, f.sender_fault) for f in outcome[5:] if f] == [(UNANSWERED, False)] * 5
    assert calls == 3


def test_a_lone_entry_that_is_refused_for_what_it_says_needs_no_other_to_be_blamed() -> None:
    outcome = call(Contract({0}, error("InvalidMessageContents")), 1)
    assert [failure and failure.code for failure in outcome] == ["InvalidMessageContents"]


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (error("InvalidParameterValueException"), Blame.ENTRY),
        (error("AWS.SimpleQueueService.BatchRequestTooLong"), Blame.ENTRY),
        (error(UNSENDABLE, 0), Blame.ENTRY),
        (error(UNREADABLE, 413, retriable=True), Blame.ENTRY),
        (error("NeverHeardOf", 400), Blame.EITHER),
        (error(UNREADABLE, 403, retriable=True), Blame.EITHER),
        (error(UNREADABLE, 401, retriable=True), Blame.CALL),
        (error("AWS.SimpleQueueService.UnsupportedOperation"), Blame.CALL),
        (error("NeverHeardOf", 503, retriable=True), Blame.CALL),
    ],
)
def test_who_is_to_blame_goes_by_code_and_status(refusal: SqsError, expected: Blame) -> None:
    assert blame(refusal) is expected
