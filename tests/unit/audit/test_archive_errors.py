from __future__ import annotations

import re
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from courier.audit.archive_errors import (
    BY_CAUSE,
    BY_CODE,
    CALL_ERRORS,
    LOOK_UP,
    OTHERWISE,
    ArchiveCall,
    explain_failure,
)
from courier.audit.archive_failure import COLLISION, MISSING
from courier.audit.failure_kinds import FORBIDDEN, KEYS, PASSING, REFUSED
from courier.config.config import OPTIONS
from courier.sqs.errors import DENIED, STALE_KEYS, THROTTLED, TRANSIENT

URL = "https://s3.eu-west-1.amazonaws.com"
PUT = ArchiveCall("PutObject", "s3://archive/host-1/one", URL)


def client_error(code: str, status: int = 400, words: str = "as S3 says") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (client_error("SlowDown", 503), PASSING, "request rate"),
        (client_error("InternalError", 500), PASSING, "AWS Health Dashboard"),
        (client_error("ConditionalRequestConflict", 409), PASSING, "but if it lasts"),
        (client_error("NoSuchBucket", 404), MISSING, "create it, or correct --audit-archive"),
        (client_error("AccessDenied", 403), FORBIDDEN, "allow the IAM action s3:PutObject (deploy/iam)"),
        (client_error("403", 403, "Forbidden"), FORBIDDEN, "access denied (Forbidden)"),
        (client_error("ExpiredToken"), KEYS, "renew them"),
        (client_error("InvalidAccessKeyId", 403), KEYS, "does not know the access key"),
        (client_error("SignatureDoesNotMatch", 403), KEYS, "doesn't match the access key"),
        (client_error("RequestTimeTooSkewed", 403), REFUSED, "set it (NTP)"),
        (client_error("PreconditionFailed", 412), COLLISION, "a prefix of its own"),
        (client_error("KMS.DisabledException"), REFUSED, "enable the KMS key"),
        (client_error("KMS.Anything"), REFUSED, "kms:GenerateDataKey"),
        (client_error("QuotaExceeded", 403), FORBIDDEN, "access denied"),
        (client_error("Novelty"), REFUSED, LOOK_UP),
        (EndpointConnectionError(endpoint_url=URL), PASSING, f"can't be reached at {URL}"),
        (ConnectionClosedError(endpoint_url=URL), PASSING, f"can't be reached at {URL}"),
        (ReadTimeoutError(endpoint_url=URL), PASSING, OTHERWISE),
        (SSLError(endpoint_url=URL, error=OSError("self-signed")), PASSING, "AWS_CA_BUNDLE"),
        (NoCredentialsError(), KEYS, "AWS_ACCESS_KEY_ID"),
        (CredentialRetrievalError(provider="sso", error_msg="signed out"), KEYS, "boto3 takes the AWS credentials"),
        (ResponseParserError("no XML"), PASSING, "isn't S3"),
        (KeyError("ContentLength"), PASSING, "isn't S3"),
    ],
)
def test_each_failure_is_one_line_that_says_what_to_do(error: Exception, kind: str, told: str) -> None:
    assert isinstance(error, CALL_ERRORS)
    met = explain_failure(error, PUT)
    assert met.kind == kind
    assert told in met.line
    assert "\n" not in met.line
    assert met.line.count("; ") == 1


def test_an_error_of_the_managed_transfer_is_the_one_behind_it() -> None:
    error = S3UploadFailedError("Failed to upload")
    error.__cause__ = client_error("AccessDenied", 403)
    assert explain_failure(error, PUT).kind == FORBIDDEN


def test_no_code_has_two_advices_and_each_names_options_that_are_there() -> None:
    assert not set(BY_CODE) & (DENIED | STALE_KEYS | THROTTLED | TRANSIENT)
    flags = {option.flag for option in OPTIONS.values()}
    for advice in (*BY_CODE.values(), *BY_CAUSE.values(), OTHERWISE):
        assert set(re.findall(r"--[a-z-]+", advice)) <= flags
