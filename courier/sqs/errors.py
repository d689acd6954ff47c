"""Errors of SQS: their codes, and whether the same call may succeed later."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

import orjson

from courier.errors import SqsError
from courier.http.answer import CANCELLED, SHORTAGES, Answer, Failure

NETWORK: Final = "network"
"""The code of a call that got no answer."""

NO_CREDENTIALS: Final = "no credentials"
"""The code of a call that couldn't be signed."""

UNREADABLE: Final = "unreadable answer"
"""The code of an answer that SQS can't have made: the error page of a gateway, or an answer that was cut."""

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
"""The credentials have expired. boto3 renews them, so the call may succeed later."""

UNKNOWN_KEYS: Final = frozenset({"InvalidClientTokenId", "UnrecognizedClientException"})
"""SQS doesn't know the credentials: a typing error, or keys that were rotated while Courier ran."""

SKEWED: Final = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
"""SQS found the time of a signature too far from its own. The same codes mean a wrong secret."""

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

UNSENDABLE: Final = "unsendable"
"""The code of a call that wasn't made, since an entry can't be written as JSON."""

CALLER: Final = (
    DENIED
    | MISSING_QUEUE
    | STALE_KEYS
    | UNKNOWN_KEYS
    | SKEWED
    | frozenset(
        {
            NETWORK,
            NO_CREDENTIALS,
            "AuthFailure",
            "IncompleteSignature",
            "InvalidAction",
            "InvalidAddress",
            "InvalidSecurity",
            "MissingAction",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
            "OptInRequired",
            "UnknownOperationException",
            "UnsupportedOperation",
        }
    )
)
"""Codes about the credentials, the permissions or the queue: every other call of the action fails alike. Those that
begin with Kms or KMS. are such codes too."""

CONTENT: Final = frozenset(
    {
        UNSENDABLE,
        "BatchEntryIdsNotDistinct",
        "BatchRequestTooLong",
        "InvalidAttributeName",
        "InvalidAttributeValue",
        "InvalidBatchEntryId",
        "InvalidIdFormat",
        "InvalidMessageContents",
        "InvalidParameter",
        "InvalidParameterValue",
        "MalformedInput",
        "MessageNotInflight",
        "MissingParameter",
        "MissingRequiredParameter",
        "ReceiptHandleIsInvalid",
        "RequestEntityTooLarge",
        "Serialization",
        "Validation",
        "ValidationError",
    }
)
"""Codes about the content of a call, without the prefix of the query protocol and the suffix ``Exception``."""

TOO_LARGE: Final = 413

CONTENT_STATUSES: Final = frozenset({400, 403, 414, 422, 431, 451})
"""Statuses with which a proxy in front of SQS may refuse the content of a call, or every call."""

DETAIL_CHARACTERS: Final = 300
"""The most characters of SQS's own words, or of a gateway's page, in an error: enough to recognise it on one line."""


def no_answer(action: str, failure: Failure) -> SqsError:
    """Return the error of a call that got no answer. It is retriable unless Courier cancelled the call.

    Its code is :data:`NETWORK`, or the name of a shortage of this machine.
    """
    detail = f"{failure.reason}: {failure.detail}" if failure.detail else failure.reason
    code = failure.reason if failure.reason in SHORTAGES else NETWORK
    return SqsError(action, code, as_detail(detail), retriable=failure.reason != CANCELLED, cause=failure.reason)


def unreadable(action: str, answer: Answer) -> SqsError:
    """Return the error of an answer that isn't one of SQS. It is retriable: nothing is known about the call."""
    size = f"{len(answer.body)} bytes, cut there" if answer.truncated else f"{len(answer.body)} bytes"
    shown = as_detail(answer.body[: 4 * DETAIL_CHARACTERS].decode(errors="replace"))
    detail = f"status {answer.status}, {size}: {shown}"
    return SqsError(action, UNREADABLE, detail, retriable=True, status=answer.status)


class Refusal(NamedTuple):
    """What SQS says in an answer with another status than 200; each is empty if it isn't there.

    ``code`` is the name of the error's shape, ``query_code`` that of the older query protocol, ``words`` its text.
    """

    code: str
    query_code: str
    words: str


def read_refusal(answer: Answer) -> Refusal:
    """Return what SQS says in an answer with another status than 200."""
    code, words = _shape_and_message(answer.body)
    return Refusal(code, _query_code(answer), words)


def refused(action: str, where: str, answer: Answer) -> SqsError:
    """Return the error in an answer with another status than 200; ``where`` names the queue and the region.

    Its code is the name of the shape in ``__type``, as in ``com.amazonaws.sqs#QueueDoesNotExist``. A body without one
    leaves the code of the older query protocol, which SQS repeats in the header ``x-amzn-query-error``.
    """
    code, query_code, words = read_refusal(answer)
    if not code and not query_code:
        return unreadable(action, answer)
    codes = {code, query_code}
    detail = f"{where}: {as_detail(words)}"
    if not DENIED.isdisjoint(codes):
        detail += f" (allow the IAM action {iam_action(action)})"
    retriable = answer.status >= 500 or answer.status == 429 or not LATER.isdisjoint(codes)
    return SqsError(action, code or query_code, detail, retriable=retriable, status=answer.status)


class Blame(Enum):
    """What a refused call failed by.

    ``CALL``: it would have been refused with any entries. ``ENTRY``: the content of an entry. ``EITHER``: the error
    doesn't say which.
    """

    CALL = "call"
    ENTRY = "entry"
    EITHER = "either"


def blame(error: SqsError) -> Blame:
    """Return what a call that failed as a whole was refused for."""
    if error.status == TOO_LARGE:
        return Blame.ENTRY
    if error.code == UNREADABLE:
        return Blame.EITHER if error.status in CONTENT_STATUSES else Blame.CALL
    if error.retriable or speaks_of_caller(error.code):
        return Blame.CALL
    return Blame.ENTRY if plain_code(error.code) in CONTENT else Blame.EITHER


def speaks_of_caller(code: str) -> bool:
    """Return whether a code is about throttling, an outage, the credentials, the permissions or the queue.

    SQS marks some of these as the sender's fault, though no message is to blame for them.
    """
    return code in CALLER or code in LATER or plain_code(code) in CALLER or code.startswith(("Kms", "KMS."))


def plain_code(code: str) -> str:
    """Return a code without the prefix of the query protocol and the suffix ``Exception``."""
    return code.removeprefix("AWS.SimpleQueueService.").removesuffix("Exception")


def iam_action(action: str) -> str:
    """Return the IAM action that allows a call: that of a single message allows a batch too."""
    return f"sqs:{action.removesuffix('Batch')}"


def as_detail(text: str) -> str:
    """Return a text folded to one line and cut, without semicolons: advice follows those."""
    return " ".join(text.split()).replace("; ", ", ")[:DETAIL_CHARACTERS]


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
