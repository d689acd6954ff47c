from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    CredentialRetrievalError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from courier.audit.failure_kinds import FORBIDDEN, KEYS, PASSING, REFUSED
from courier.audit.firehose_batch import RefusedRecord
from courier.audit.firehose_errors import (
    BY_CAUSE,
    BY_CODE,
    LOOK_UP,
    OTHERWISE,
    FirehoseCall,
    explain_failure,
    partly_refused,
)
from courier.config.config import OPTIONS
from courier.http.advice import BY_NAME_FAILURE, BY_SHORTAGE
from courier.sqs.call_errors import CALL_ERRORS
from courier.sqs.errors import (
    CALLER,
    DENIED,
    MISSING_QUEUE,
    NETWORK,
    NO_CREDENTIALS,
    SKEWED,
    STALE_KEYS,
    THROTTLED,
    TRANSIENT,
    UNKNOWN_KEYS,
)

URL = "https://firehose.eu-west-1.amazonaws.com"
PUT = FirehoseCall("PutRecordBatch", "audit", "eu-west-1", URL)


def client_error(code: str, status: int = 400, words: str = "as AWS says") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutRecordBatch")


def test_throttling_and_faults_of_firehose_pass() -> None:
    for code in ("ServiceUnavailableException", "LimitExceededException", "ThrottlingException", "InternalFailure"):
        assert explain_failure(client_error(code), PUT).kind == PASSING
    assert explain_failure(client_error("502", 502), PUT).kind == PASSING
    assert explain_failure(client_error("AnythingElse", 429), PUT).kind == PASSING


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        ("ResourceNotFoundException", REFUSED, "correct --firehose-stream, --region"),
        ("AccessDeniedException", FORBIDDEN, "allow the IAM action firehose:PutRecordBatch"),
        ("ExpiredTokenException", KEYS, "have expired (ExpiredTokenException); renew them"),
        ("UnrecognizedClientException", KEYS, "does not know the access key"),
        ("InvalidSignatureException", KEYS, "doesn't match the access key"),
        ("InvalidKMSResourceException", REFUSED, "InvalidKMSResourceException: as AWS says"),
        ("InvalidArgumentException", REFUSED, "InvalidArgumentException: as AWS says"),
    ],
)
def test_a_refusal_says_in_one_line_what_to_mend(code: str, kind: str, told: str) -> None:
    met = explain_failure(client_error(code), PUT)
    assert met.kind == kind
    assert told in met.line
    assert "'audit' in eu-west-1" in met.line


def test_a_wrong_clock_is_not_taken_for_a_wrong_key() -> None:
    met = explain_failure(client_error("InvalidSignatureException", 400, "Signature expired: 2026 is now earlier"), PUT)
    assert met.kind == REFUSED
    assert "clock" in met.line


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=URL),
        ConnectionClosedError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
)
def test_the_network_passes_and_is_told_with_where_it_was_to_lead(error: Exception) -> None:
    met = explain_failure(error, PUT)
    assert met.kind == PASSING
    assert f"can't be reached at {URL}" in met.line


def test_an_untrusted_certificate_is_told_as_such() -> None:
    met = explain_failure(SSLError(endpoint_url=URL, error=OSError("self-signed certificate")), PUT)
    assert "AWS_CA_BUNDLE" in met.line


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        CredentialRetrievalError(provider="sso", error_msg="signed out"),
        FileNotFoundError("no such credential process"),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
    ],
)
def test_what_the_chain_of_credentials_raises_is_put_down_to_it(error: Exception) -> None:
    assert explain_failure(error, PUT).kind == KEYS


@pytest.mark.parametrize("error", [ResponseParserError("no JSON"), KeyError("RequestResponses"), ValueError("2 for 3")])
def test_another_server_than_firehose_is_told_as_such(error: Exception) -> None:
    met = explain_failure(error, PUT)
    assert met.kind == PASSING
    assert "isn't Firehose" in met.line


def test_every_line_is_one_line_and_every_error_one_that_is_caught() -> None:
    errors = [client_error("Other", 400, "a\nb"), ValueError("a\nb"), NoCredentialsError(), ResponseParserError("a\nb")]
    for error in errors:
        assert isinstance(error, CALL_ERRORS)
        assert "\n" not in explain_failure(error, PUT).line


COMMON = """AccessDeniedException ExpiredTokenException IncompleteSignature InternalFailure
MalformedHttpRequestException NotAuthorized OptInRequired RequestAbortedException RequestEntityTooLargeException
RequestExpired RequestTimeoutException ServiceUnavailable ThrottlingException UnrecognizedClientException
UnknownOperationException ValidationError"""
"""The errors that Firehose's API reference lists as common to all actions."""


def codes() -> list[str]:
    """Return each code that Firehose documents for our calls, and each that is told apart anywhere for AWS."""
    model = botocore.session.get_session().get_service_model("firehose")
    of_calls = {
        shape.name
        for action in ("PutRecordBatch", "DescribeDeliveryStream")
        for shape in model.operation_model(action).error_shapes
    }
    ours = THROTTLED | TRANSIENT | DENIED | SKEWED | STALE_KEYS | UNKNOWN_KEYS | CALLER
    return sorted((of_calls | set(COMMON.split()) | ours | set(BY_CODE)) - MISSING_QUEUE - {NETWORK, NO_CREDENTIALS})


@pytest.mark.parametrize("code", codes())
@pytest.mark.parametrize("action", ["PutRecordBatch", "DescribeDeliveryStream"])
def test_whatever_firehose_answers_the_line_says_what_to_do_about_it(code: str, action: str) -> None:
    met = explain_failure(client_error(code), PUT._replace(action=action))
    reason, _, remedy = met.line.partition("; ")
    assert reason
    assert remedy
    assert LOOK_UP not in met.line
    assert "; " not in remedy


def test_whatever_keeps_firehose_from_being_reached_is_known() -> None:
    for reason, text in BY_CAUSE.items():
        assert text, reason
    assert set(BY_CAUSE) >= set(BY_SHORTAGE) | set(BY_NAME_FAILURE)


def test_a_code_that_nobody_knows_has_advice_too() -> None:
    assert LOOK_UP in explain_failure(client_error("Unheard"), PUT).line


def test_advice_names_only_options_that_there_are() -> None:
    flags = {option.flag for option in OPTIONS.values()}
    lines = [explain_failure(client_error(code), PUT).line for code in codes()]
    for text in (*lines, *BY_CAUSE.values(), OTHERWISE):
        assert set(re.findall(r"--[a-z][a-z-]+", text)) <= flags


def test_a_call_that_was_taken_in_part_is_told_with_the_first_reason() -> None:
    met = partly_refused([RefusedRecord(1, "ServiceUnavailableException", "Slow down.")], 3, PUT)
    assert met.kind == PASSING
    assert "took 2 of 3 records: ServiceUnavailableException: Slow down." in met.line
