from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.firehose_batch import MOST_RECORD_BYTES, batches, firehose_recorder, refusals
from courier.message import Message
from scripts.faults.firehose_server import beyond_limits

KIB = 1024


def message(body: bytes) -> Message:
    return Message("id-1", "receipt", 0.0, 0.0, 1, 0, 0, "", "", "", (), body)


def line(body: bytes, form: str = "json", keep: str = "full") -> bytes:
    return firehose_recorder(form, keep)(message(body), "delivered", 200, 0.01, 1_700_000_000.0)


def taken(*results: dict[str, str], failed: int = 0) -> dict[str, Any]:
    return {"FailedPutCount": failed, "Encrypted": False, "RequestResponses": list(results)}


OK = {"RecordId": "1"}
SLOW = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}


@given(st.lists(st.sampled_from([1, 20, 700 * KIB, 999 * KIB, MOST_RECORD_BYTES]), max_size=60))
def test_every_line_goes_into_one_call_in_order_and_no_call_is_beyond_the_limits(sizes: list[int]) -> None:
    lines = [b"x" * size for size in sizes]
    calls = list(batches(lines))
    assert [index for call in calls for index in call] == list(range(len(lines)))
    assert not any(beyond_limits([lines[index] for index in call]) for call in calls)


def test_calls_are_filled() -> None:
    assert [len(call) for call in batches([b"x"] * 1001)] == [500, 500, 1]
    assert [len(call) for call in batches([b"x" * 1_000_000] * 9)] == [4, 4, 1]


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_largest_line_that_fits_a_record_is_left_as_it_is(form: str) -> None:
    frame = len(line(b"", form))
    assert len(line(b"x" * (MOST_RECORD_BYTES - frame), form)) == MOST_RECORD_BYTES
    assert len(line(b"x" * (MOST_RECORD_BYTES - frame + 1), form)) < KIB


@pytest.mark.parametrize(
    "body", [b"x" * (1024 * KIB), b"\x01" * (300 * KIB), b"\xff" * (900 * KIB), b'"' * (600 * KIB)]
)
def test_a_line_that_does_not_fit_carries_the_digest_and_the_length_of_the_body(body: bytes) -> None:
    fields = orjson.loads(line(body))
    assert fields["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert fields["body_length"] == len(body)
    assert "body" not in fields
    assert "body_base64" not in fields
    assert fields["message_id"] == "id-1"


def test_a_row_of_text_that_does_not_fit_carries_the_digest_of_the_body_as_it_was() -> None:
    body = b"\n" * (600 * KIB)
    assert line(body, "text") == f"id-1 sha256:{hashlib.sha256(body).hexdigest()}\n".encode()


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("keep", ["full", "sha256", "none"])
@pytest.mark.parametrize("body", [b"", b"small", b"x" * (1024 * KIB)])
def test_every_line_fits_and_ends_in_its_only_newline(form: str, keep: str, body: bytes) -> None:
    made = line(body, form, keep)
    assert made.endswith(b"\n")
    assert made.count(b"\n") == 1
    assert not beyond_limits([made])


def test_records_without_an_id_were_not_taken() -> None:
    refused = refusals(taken(OK, SLOW, OK, {}, failed=2), 4)
    assert [(each.position, each.code) for each in refused] == [
        (1, "ServiceUnavailableException"),
        (3, "no record id"),
    ]
    assert not refusals(taken(OK, OK), 2)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        taken(OK),
        taken(OK, OK, OK),
        taken(OK, SLOW),
        taken(OK, OK, failed=1),
        {"FailedPutCount": 0},
        {"RequestResponses": [OK, OK]},
        {"FailedPutCount": 0, "RequestResponses": None},
        {"FailedPutCount": 0, "RequestResponses": ["a", "b"]},
        {"message": "<html>It works!</html>"},
    ],
)
def test_an_answer_that_firehose_does_not_give_confirms_nothing(answer: dict[str, Any]) -> None:
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        refusals(answer, 2)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("keep", ["full", "sha256", "none"])
def test_a_group_id_without_end_makes_no_record_that_the_stream_refuses(form: str, keep: str) -> None:
    long = message(b"body")._replace(group="g" * MOST_RECORD_BYTES)
    made = firehose_recorder(form, keep)(long, "delivered", 200, 0.01, 1_700_000_000.0)
    assert len(made) <= MOST_RECORD_BYTES
    assert b"id-1" in made
