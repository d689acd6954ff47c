"""Advice: what an operator can do about a call to SQS that failed, by the code of the failure. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from courier.errors import SqsError
from courier.http import answer
from courier.http.advice import BY_NAME_FAILURE, BY_SHORTAGE
from courier.sqs.errors import (
    DENIED,
    MISSING_QUEUE,
    NETWORK,
    NO_CREDENTIALS,
    SKEWED,
    STALE_KEYS,
    THROTTLED,
    TOO_LARGE,
    TRANSIENT,
    UNKNOWN_KEYS,
    UNREADABLE,
    UNSENDABLE,
    iam_action,
    plain_code,
)

_BY_ITSELF: Final = "Courier tries again by itself"
_KEY: Final = "of the KMS key that encrypts the queue"

BY_CAUSE: Final[Mapping[str, str]] = {
    **BY_NAME_FAILURE,
    answer.RESOLVE: "DNS has no such name: correct --region, --endpoint-url or the URL of --queue",
    answer.DENIED: "correct --endpoint-url",
    answer.CONNECT_REFUSED: "check --endpoint-url, and that what it names is running",
    answer.CONNECT_FAILED: "check the network and routes from this machine to SQS",
    answer.CONNECT_TIMEOUT: "check firewalls, security groups and the VPC endpoint between this machine and SQS, and "
    "the proxy if HTTPS_PROXY names one",
    answer.PROXY_UNREACHABLE: "check HTTPS_PROXY (HTTP_PROXY for an http endpoint), and that the proxy runs; name "
    "hosts that need no proxy in NO_PROXY",
    answer.PROXY_REFUSED: "with status 407, put user name and password into the URL of HTTPS_PROXY; with another one, "
    "let the proxy connect to the endpoint of SQS, or name the endpoint in NO_PROXY",
    answer.TLS: "check --endpoint-url, name the right certificates in AWS_CA_BUNDLE (also those of a proxy that "
    "intercepts TLS), and check this machine's clock",
    answer.FIRST_BYTE_TIMEOUT: f"nothing at first, {_BY_ITSELF}; if it lasts, check the network to SQS",
    answer.TIMEOUT: f"nothing at first, {_BY_ITSELF}; if it lasts, check the network to SQS",
    answer.RESET: f"nothing at first, {_BY_ITSELF}; if it lasts, check proxies and firewalls before SQS",
    answer.PROTOCOL: "what answers doesn't speak HTTP/1.1 correctly: check host, port and scheme of --endpoint-url",
    answer.CANCELLED: "nothing: Courier gave the call up, since it is stopping",
    **BY_SHORTAGE,
}
"""What to do about a call that got no answer, by the reason of the failure."""

_KMS: Final[Mapping[str, str]] = {
    "AccessDenied": f"allow kms:Decrypt, and for a failure queue kms:GenerateDataKey, {_KEY} (deploy/iam)",
    "Disabled": "enable the KMS key that encrypts the queue",
    "InvalidKeyUsage": "encrypt the queue with a symmetric KMS key for encryption",
    "InvalidState": f"cancel the deletion, or end the import, {_KEY}",
    "NotFound": "the KMS key that encrypts the queue is gone: encrypt the queue with another one",
    "OptInRequired": "subscribe the AWS account to KMS",
    **dict.fromkeys(
        ("Throttled", "Throttling"),
        f"nothing at first, {_BY_ITSELF}; if it lasts, raise KMS's quota, or the queue's KmsDataKeyReusePeriodSeconds",
    ),
}
"""What to do about an error of KMS, by its code without the prefix Kms or KMS. and the suffix Exception."""

_TABLES: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (frozenset({NO_CREDENTIALS}), "provide AWS credentials, or repair where they come from"),
    (STALE_KEYS, f"renew the AWS credentials; {_BY_ITSELF} with what boto3's chain finds"),
    (
        UNKNOWN_KEYS,
        "correct the AWS credentials: this access key doesn't exist any more, or belongs to another partition",
    ),
    (
        SKEWED,
        "correct the AWS secret access key; where the signature has expired, set this machine's clock (NTP)",
    ),
    (MISSING_QUEUE, "create the queue again, or restart Courier with another --queue, --region or account"),
    (THROTTLED, f"nothing at first, {_BY_ITSELF}; if it lasts, run fewer --consumers or raise the quota of SQS"),
    (TRANSIENT, f"nothing, {_BY_ITSELF}; if it lasts, look at the AWS Health Dashboard"),
    (
        frozenset({UNREADABLE}),
        "check --endpoint-url, and proxies and gateways before SQS: what answers isn't SQS",
    ),
    (frozenset({UNSENDABLE}), "please report it: Courier made a call that can't be written as JSON"),
    (
        frozenset(
            {"AuthFailure", "IncompleteSignature", "MissingAuthenticationToken", "InvalidSecurity", "NotAuthorized"}
        ),
        "check the AWS credentials, and proxies before SQS that change requests",
    ),
    (frozenset({"OptInRequired"}), "enable SQS, or the region, for the AWS account"),
    (
        frozenset(
            {"InvalidAction", "MissingAction", "UnknownOperationException", "UnsupportedOperation", "InvalidAddress"}
        ),
        "check --endpoint-url and the queue's type: what answers doesn't support this call",
    ),
    (
        frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight"}),
        "nothing: SQS has shown the message again already; if it is frequent, raise --visibility-timeout",
    ),
    (
        frozenset({"BatchRequestTooLong", "InvalidMessageContents", "RequestEntityTooLarge"}),
        "look at the message: it is too large for the queue or holds characters that SQS forbids",
    ),
)

BY_CODE: Final[Mapping[str, str]] = {code: text for codes, text in _TABLES for code in codes}

OTHERWISE: Final = "look up the code in the API reference of SQS"


def advice(error: SqsError) -> str:
    """Return what to do about a call that failed as a whole."""
    if error.code == NETWORK:
        return BY_CAUSE.get(error.cause, BY_CAUSE[answer.CONNECT_FAILED])
    if error.status == TOO_LARGE:
        return BY_CODE["RequestEntityTooLarge"]
    return advice_on(error.code, error.action)


def advice_on(code: str, action: str) -> str:
    """Return what to do about an entry of a batch, or a call, that failed with ``code``; never empty."""
    if code in DENIED:
        return f"allow the IAM action {iam_action(action)} on the queue (deploy/iam)"
    if code in BY_CAUSE:
        return BY_CAUSE[code]
    if code.startswith(("Kms", "KMS.")):
        kind = code.removeprefix("Kms").removeprefix("KMS.").removesuffix("Exception")
        return _KMS.get(kind, f"look at the state {_KEY}")
    return BY_CODE.get(code) or BY_CODE.get(plain_code(code)) or OTHERWISE
