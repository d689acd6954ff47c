"""The answer to a batch: which messages it settles, by the rules of Lambda's SQS trigger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.http.answer import TIMEOUT, Answer, Failure
from courier.recipient.batch_answer import BatchResult, read_batch_answer
from courier.recipient.batch_reasons import BATCH_REASONS, FUNCTION_ERROR, MALFORMED
from courier.recipient.policy import DEFAULT_RULES

IDS = ("a", "b", "c")


def answer(body: bytes | str, *headers: tuple[bytes, bytes], status: int = 200, truncated: bool = False) -> Answer:
    raw = body if isinstance(body, bytes) else body.encode()
    return Answer(status, list(headers), raw, truncated, True, 0.0, 0.01)


def read(body: bytes | str, *headers: tuple[bytes, bytes], reports: bool = True, **more: Any) -> BatchResult:
    return read_batch_answer(answer(body, *headers, **more), IDS, DEFAULT_RULES, reports=reports)


def reason(result: BatchResult) -> str:
    assert isinstance(result.whole, Failure)
    return result.whole.reason


@pytest.mark.parametrize(
    "body",
    [
        '{"batchItemFailures": []}',
        '{"batchItemFailures": null}',
        "{}",
        "null",
        "",
        " \n",
        '""',
        '{"statusCode": 200, "body": "done"}',
    ],
)
def test_an_answer_without_failures_settles_the_batch(body: str) -> None:
    """Source: "Success and failure conditions" in the Lambda developer guide."""
    assert read(body) == BatchResult(None, frozenset())


def test_the_named_messages_failed_and_no_others() -> None:
    body = json.dumps(
        {"batchItemFailures": [{"itemIdentifier": "c"}, {"itemIdentifier": "a"}, {"itemIdentifier": "c"}]}
    )
    assert read(body) == BatchResult(None, frozenset({"a", "c"}))


@pytest.mark.parametrize(
    "item", [{"itemIdentifier": ""}, {"itemIdentifier": None}, {"foo": "notvalid"}, {"itemIdentifier": "d"}, "a", 7, {}]
)
def test_an_identifier_that_is_none_of_the_batch_fails_all_of_it(item: object) -> None:
    """Source: the same section, and the AWS answer to a bad key name that localstack's tests record."""
    assert reason(read(json.dumps({"batchItemFailures": [{"itemIdentifier": "a"}, item]}))) == MALFORMED


@pytest.mark.parametrize("body", ["done", "{", '"done"', "[]", "7", '{"batchItemFailures": "a"}', b"\xff"])
def test_an_answer_that_can_t_be_read_fails_the_batch_only_if_answers_report_failures(body: bytes | str) -> None:
    assert reason(read(body)) == MALFORMED
    assert read(body, reports=False) == BatchResult(None)


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        # The Python and the Node.js runtime interface client, and the emulator after AWS_LAMBDA_FUNCTION_TIMEOUT.
        '{"errorMessage": "no", "errorType": "ValueError", "requestId": "7", "stackTrace": ["x"]}',
        '{"errorType":"Error","errorMessage":"no","trace":["Error: no"]}',
        "Task timed out after 3.00 seconds",
    ],
)
def test_a_function_that_failed_fails_the_batch_although_the_emulator_answers_200(body: str, reports: bool) -> None:
    result = read(body, reports=reports)
    assert reason(result) == FUNCTION_ERROR
    assert isinstance(result.whole, Failure)
    assert "no" in result.whole.detail or "timed out" in result.whole.detail


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize("header", [b"x-amz-function-error", b"lambda-runtime-function-error-type"])
def test_a_header_says_that_the_function_failed_whatever_the_body(header: bytes, reports: bool) -> None:
    assert reason(read("{}", (header, b"Unhandled"), reports=reports)) == FUNCTION_ERROR
    assert reason(read("oops", (header, b"Unhandled"), reports=reports)) == FUNCTION_ERROR


def test_an_answer_that_was_cut_off_settles_nothing() -> None:
    assert reason(read("{}", truncated=True)) == MALFORMED


def test_an_answer_that_is_no_success_is_that_of_all_messages() -> None:
    busy = answer("", status=400)
    assert read_batch_answer(busy, IDS, DEFAULT_RULES, reports=True) == BatchResult(busy)
    failure = Failure(TIMEOUT, "", 30.0)
    assert read_batch_answer(failure, IDS, DEFAULT_RULES, reports=True) == BatchResult(failure)
    early = answer("")._replace(request_written=False)
    assert read_batch_answer(early, IDS, DEFAULT_RULES, reports=True) == BatchResult(early)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "b", "x", "batchItemFailures"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["batchItemFailures", "itemIdentifier", "errorType", "errorMessage", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(_JSON.map(json.dumps) | st.text() | st.binary(), st.booleans())
def test_any_answer_settles_all_but_messages_of_the_batch_or_fails_all_with_a_reason(
    body: str | bytes, reports: bool
) -> None:
    result = read_batch_answer(
        answer(body if isinstance(body, bytes) else body.encode(errors="replace")), IDS, DEFAULT_RULES, reports=reports
    )
    assert result.failed <= set(IDS)
    if result.whole is not None:
        assert reason(result) in BATCH_REASONS
        assert not result.failed
