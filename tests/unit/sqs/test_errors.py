from __future__ import annotations

import orjson
import pytest

from courier.http.answer import CANCELLED, CONNECT_REFUSED, RESET, TIMEOUT, Answer, Failure
from courier.sqs.errors import DETAIL_CHARACTERS, NETWORK, UNREADABLE, iam_action, no_answer, refused, unreadable

WHERE = "queue 'orders' in eu-west-1"


def answered(status: int, body: bytes, query_error: str | None = None, *, truncated: bool = False) -> Answer:
    headers = [(b"x-amzn-query-error", query_error.encode())] if query_error else []
    return Answer(status, headers, body, truncated, True, 0.0, 0.0)


def sqs_error(status: int, shape: str, query_error: str | None = None, message: str = "told by SQS") -> Answer:
    return answered(status, orjson.dumps({"__type": shape, "message": message}), query_error)


@pytest.mark.parametrize(
    ("status", "shape", "query_error", "code", "retriable"),
    [
        (400, "com.amazonaws.sqs#RequestThrottled", "RequestThrottled;Sender", "RequestThrottled", True),
        (400, "com.amazon.coral.availability#ThrottlingException", None, "ThrottlingException", True),
        (403, "com.amazonaws.sqs#OverLimit", "OverLimit;Sender", "OverLimit", True),
        (400, "com.amazonaws.sqs#KmsThrottled", "KMS.ThrottlingException;Sender", "KmsThrottled", True),
        (400, "com.amazonaws.sqs#SomethingNew", "Throttling;Sender", "SomethingNew", True),
        (500, "com.amazonaws.sqs#InternalFailure", "InternalFailure;Receiver", "InternalFailure", True),
        (503, "com.amazonaws.sqs#NeverHeardOf", None, "NeverHeardOf", True),
        (429, "com.amazonaws.sqs#NeverHeardOf", None, "NeverHeardOf", True),
        (403, "com.amazon.coral.service#ExpiredTokenException", "ExpiredToken;Sender", "ExpiredTokenException", True),
        (403, "com.amazon.coral.service#AccessDeniedException", "AccessDenied;Sender", "AccessDeniedException", False),
        (400, "com.amazonaws.sqs#KmsAccessDenied", "KMS.AccessDeniedException;Sender", "KmsAccessDenied", False),
        (
            400,
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
            "QueueDoesNotExist",
            False,
        ),
        (403, "com.amazon.coral.service#UnrecognizedClientException", None, "UnrecognizedClientException", False),
        (403, "com.amazon.coral.service#InvalidSignatureException", None, "InvalidSignatureException", False),
        (400, "InvalidParameterValue", None, "InvalidParameterValue", False),
    ],
)
def test_a_refusal_is_known_by_its_code(
    status: int, shape: str, query_error: str | None, code: str, retriable: bool
) -> None:
    error = refused("ReceiveMessage", WHERE, sqs_error(status, shape, query_error))
    assert (error.action, error.code, error.retriable) == ("ReceiveMessage", code, retriable)
    assert WHERE in error.detail
    assert "told by SQS" in error.detail


def test_a_refusal_without_a_shape_goes_by_the_code_of_the_query_protocol() -> None:
    error = refused("ReceiveMessage", WHERE, answered(400, b"{}", "AWS.SimpleQueueService.NonExistentQueue;Sender"))
    assert (error.code, error.retriable) == ("AWS.SimpleQueueService.NonExistentQueue", False)


def test_a_denied_batch_names_the_iam_action_that_allows_it() -> None:
    error = refused("DeleteMessageBatch", WHERE, sqs_error(403, "com.amazon.coral.service#AccessDeniedException"))
    assert "sqs:DeleteMessage)" in error.detail
    assert iam_action("ReceiveMessage") == "sqs:ReceiveMessage"


@pytest.mark.parametrize(
    "body", [b"", b"<html>\n<h1>403 Forbidden</h1>\n</html>", b"[]", b'"x"', b"{}", b'{"__type": nul', b"\xff\xfe\x00"]
)
@pytest.mark.parametrize("status", [302, 400, 403, 404, 502])
def test_what_sqs_cannot_have_said_says_nothing_about_the_call(status: int, body: bytes) -> None:
    error = refused("ReceiveMessage", WHERE, answered(status, body))
    assert (error.code, error.retriable) == (UNREADABLE, True)
    assert str(status) in error.detail
    assert "\n" not in str(error)


def test_a_gateways_page_is_shown_in_part_and_on_one_line() -> None:
    error = unreadable("ReceiveMessage", answered(502, b"<p>\n" + b"sorry " * 10_000, truncated=True))
    assert "<p> sorry sorry" in error.detail
    assert "cut there" in error.detail
    assert len(error.detail) < DETAIL_CHARACTERS + 100


@pytest.mark.parametrize("reason", [CONNECT_REFUSED, RESET, TIMEOUT])
def test_a_call_without_an_answer_may_be_repeated(reason: str) -> None:
    error = no_answer("ReceiveMessage", Failure(reason, "127.0.0.1:1", 0.1))
    assert (error.code, error.detail, error.retriable) == (NETWORK, f"{reason}: 127.0.0.1:1", True)


def test_a_call_that_we_cancelled_is_not_to_be_repeated() -> None:
    error = no_answer("ReceiveMessage", Failure(CANCELLED, "", 0.1))
    assert (error.code, error.detail, error.retriable) == (NETWORK, "cancelled", False)
