from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.message import Attribute
from courier.sqs.batch import (
    ALTERED,
    UNANSWERED,
    EntryFailure,
    Outgoing,
    delete_entries,
    fail_altered,
    read_results,
    send_entries,
    visibility_entries,
)


def failed(index: int, code: str = "InternalError", *, sender_fault: bool = False) -> dict[str, Any]:
    return {"Id": str(index), "Code": code, "Message": "told by SQS", "SenderFault": sender_fault}


@given(st.lists(st.sampled_from(["done", "failed", "left out"]), max_size=10), st.randoms(use_true_random=False))
def test_results_stand_at_the_place_of_their_entries_however_sqs_orders_them(fates: list[str], random: Any) -> None:
    done = [{"Id": str(i)} for i, fate in enumerate(fates) if fate == "done"]
    broken = [failed(i, f"Code{i}") for i, fate in enumerate(fates) if fate == "failed"]
    random.shuffle(done)
    random.shuffle(broken)
    outcome = read_results(len(fates), {"Successful": done, "Failed": broken})
    for i, (fate, result) in enumerate(zip(fates, outcome, strict=True)):
        if fate == "done":
            assert result is None
        else:
            assert result is not None
            assert result.code == (f"Code{i}" if fate == "failed" else UNANSWERED)


@pytest.mark.parametrize("told", [[], ["0"], ["0", "0"], ["0", "1", "1"], ["0", "1", "0"], ["0", "1", "2", "2"]])
def test_what_is_told_twice_is_no_word_of_another_entry(told: list[str]) -> None:
    outcome = read_results(3, {"Successful": [{"Id": name} for name in told]})
    for index, result in enumerate(outcome):
        assert (result is None) == (str(index) in told)


@pytest.mark.parametrize("answer", [{}, {"Successful": None, "Failed": None}, {"Successful": [], "Failed": []}])
def test_an_empty_answer_means_that_every_entry_failed(answer: dict[str, Any]) -> None:
    outcome = read_results(2, answer)
    assert [failure.code for failure in outcome if failure] == [UNANSWERED, UNANSWERED]


def test_an_entry_in_both_lists_has_failed() -> None:
    outcome = read_results(1, {"Successful": [{"Id": "0"}], "Failed": [failed(0, "Odd", sender_fault=True)]})
    assert outcome == [EntryFailure("Odd", "told by SQS", True)]


@pytest.mark.parametrize("entry", [{"Id": "2"}, {"Id": "-1"}, {"Id": "x"}, {"Id": None}, {}, "0", None, 7])
def test_an_answer_about_an_entry_that_was_not_asked_for_is_not_taken(entry: object) -> None:
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        read_results(2, {"Successful": [entry]})


def test_entries_are_named_by_their_index_so_that_one_receipt_may_stand_twice() -> None:
    assert delete_entries(["r", "r"]) == [{"Id": "0", "ReceiptHandle": "r"}, {"Id": "1", "ReceiptHandle": "r"}]
    assert visibility_entries([("r", 30), ("r", 0)]) == [
        {"Id": "0", "ReceiptHandle": "r", "VisibilityTimeout": 30},
        {"Id": "1", "ReceiptHandle": "r", "VisibilityTimeout": 0},
    ]


def test_a_message_goes_out_with_what_it_has_and_nothing_else() -> None:
    text = Attribute("kind", "String", "order")
    picture = Attribute("picture", "Binary.png", "iVBORw0=")
    full = Outgoing("grüße".encode(), (text, picture), "customer-1", "once", "Root=1-5759e988-bd862e3fe1be46a994272793")
    assert send_entries([Outgoing(b"x"), full]) == [
        {"Id": "0", "MessageBody": "x"},
        {
            "Id": "1",
            "MessageBody": "grüße",
            "MessageAttributes": {
                "kind": {"DataType": "String", "StringValue": "order"},
                "picture": {"DataType": "Binary.png", "BinaryValue": "iVBORw0="},
            },
            "MessageGroupId": "customer-1",
            "MessageDeduplicationId": "once",
            "MessageSystemAttributes": {
                "AWSTraceHeader": {
                    "DataType": "String",
                    "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793",
                }
            },
        },
    ]


def test_a_message_that_sqs_took_with_another_body_has_failed() -> None:
    messages = [Outgoing(b"a"), Outgoing(b"b"), Outgoing(b"c")]
    successes = [
        {"Id": "0", "MD5OfMessageBody": hashlib.md5(b"a").hexdigest()},
        {"Id": "1", "MD5OfMessageBody": hashlib.md5(b"B").hexdigest()},
        {"Id": "2"},
    ]
    answer = {"Successful": successes}
    outcome = read_results(3, answer)
    fail_altered(messages, answer, outcome)
    assert [failure and failure.code for failure in outcome] == [None, ALTERED, ALTERED]
