"""What an answer of SQS that isn't a success means: its code, and whether the same call may succeed later."""

from __future__ import annotations

from typing import Final

import orjson

from courier.errors import SqsError
from courier.http.answer import CANCELLED, Answer, Failure

NETWORK: Final = "network"
"""The code of a call that got no answer at all."""

NO_CREDENTIALS: Final = "no credentials"
"""The code of a call that couldn't be signed."""

UNREADABLE: Final = "unreadable answer"
"""The code of an answer that SQS can't have made: a gateway's error page, or one that was cut."""

THROTTLED: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "KMS.ThrottlingException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""boto3's throttling codes that apply to SQS, and the two of SQS that it leaves out: OverLimit and KmsThrottled."""

TRANSIENT: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)

STALE_KEYS: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
"""The credentials ran out. They are renewed by themselves, so the call may succeed later."""

UNKNOWN_KEYS: Final = frozenset({"InvalidClientTokenId", "UnrecognizedClientException"})
"""SQS doesn't know the credentials: a typing error, or keys that were rotated while we ran."""

SKEWED: Final = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
"""What SQS says of a signature whose time is too far from its own; the same codes mean a wrong secret."""

DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})

MISSING_QUEUE: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NonExistentQueue",
        "QueueDoesNotExist",
        "QueueDoesNotExistException",
    }
)

LATER: Final = THROTTLED | TRANSIENT | STALE_KEYS

DETAIL_CHARACTERS: Final = 300
"""What is kept of SQS's own words, or of a gateway's page: enough to know it by, and fit for one line."""


def no_answer(action: str, failure: Failure) -> SqsError:
    """Give the error of a call that got no answer; only one that we cancelled ourselves isn't worth repeating."""
    detail = f"{failure.reason}: {failure.detail}" if failure.detail else failure.reason
    return SqsError(action, NETWORK, one_line(detail), retriable=failure.reason != CANCELLED)


def unreadable(action: str, answer: Answer) -> SqsError:
    """Give the error of an answer that isn't one of SQS. It says nothing about the call, so that may be repeated."""
    size = f"{len(answer.body)} bytes, cut there" if answer.truncated else f"{len(answer.body)} bytes"
    shown = one_line(answer.body[: 4 * DETAIL_CHARACTERS].decode(errors="replace"))
    return SqsError(action, UNREADABLE, f"status {answer.status}, {size}: {shown}", retriable=True)


def refused(action: str, where: str, answer: Answer) -> SqsError:
    """Read an answer with another status than 200; ``where`` names the queue and the region.

    The code is the shape's name in ``__type``, as in ``com.amazonaws.sqs#QueueDoesNotExist``, or where the body has
    none the code of the older query protocol, which SQS repeats in the header ``x-amzn-query-error``.
    """
    query_code = _query_code(answer)
    code, words = _shape_and_message(answer.body)
    if not code and not query_code:
        return unreadable(action, answer)
    codes = {code, query_code}
    detail = f"{where}: {one_line(words)}"
    if not DENIED.isdisjoint(codes):
        detail += f" (allow the IAM action {iam_action(action)})"
    retriable = answer.status >= 500 or answer.status == 429 or not LATER.isdisjoint(codes)
    return SqsError(action, code or query_code, detail, retriable=retriable)


def iam_action(action: str) -> str:
    """Give the name under which IAM allows a call: a batch is allowed with the single action."""
    return f"sqs:{action.removesuffix('Batch')}"


def one_line(text: str) -> str:
    """Fold white space and cut, so that a log line stays one line."""
    return " ".join(text.split())[:DETAIL_CHARACTERS]


def _query_code(answer: Answer) -> str:
    value = answer.header(b"x-amzn-query-error") or b""
    return value.decode("latin-1").partition(";")[0].strip()


def _shape_and_message(body: bytes) -> tuple[str, str]:
    try:
        error = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(error, dict):
        return "", ""
    shape = str(error.get("__type") or error.get("code") or "")
    message = error.get("message") or error.get("Message") or ""
    return shape.rpartition("#")[2], str(message)
