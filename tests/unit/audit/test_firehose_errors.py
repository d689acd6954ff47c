from __future__ import annotations

from typing import Any

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

from courier.audit.firehose_batch import Refusal
from courier.audit.firehose_errors import (
    CALL_ERRORS,
    FORBIDDEN,
    KEYS,
    PASSING,
    REFUSED,
    Attempt,
    partly_refused,
    trouble,
)

URL = "https://firehose.eu-west-1.amazonaws.com"
PUT = Attempt("PutRecordBatch", "audit", "eu-west-1", URL)


def client_error(code: str, status: int = 400, words: str = "as AWS says") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutRecordBatch")


def test_throttling_and_faults_of_firehose_pass() -> None:
    for code in ("ServiceUnavailableException", "LimitExceededException", "ThrottlingException", "InternalFailure"):
        assert trouble(client_error(code), PUT).kind == PASSING
    assert trouble(client_error("502", 502), PUT).kind == PASSING
    assert trouble(client_error("AnythingElse", 429), PUT).kind == PASSING


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        ("ResourceNotFoundException", REFUSED, "correct --firehose-stream, --region"),
        ("AccessDeniedException", FORBIDDEN, "allow the IAM action firehose:PutRecordBatch"),
        ("ExpiredTokenException", KEYS, "have expired; renew them"),
        ("UnrecognizedClientException", KEYS, "does not know the access key"),
        ("InvalidSignatureException", KEYS, "isn't the one of the access key"),
        ("InvalidKMSResourceException", REFUSED, "InvalidKMSResourceException: as AWS says"),
        ("InvalidArgumentException", REFUSED, "InvalidArgumentException: as AWS says"),
    ],
)
def test_a_refusal_says_in_one_line_what_to_mend(code: str, kind: str, told: str) -> None:
    met = trouble(client_error(code), PUT)
    assert met.kind == kind
    assert told in met.line
    assert "'audit' in eu-west-1" in met.line


def test_a_wrong_clock_is_not_taken_for_a_wrong_key() -> None:
    met = trouble(client_error("InvalidSignatureException", 400, "Signature expired: 2026 is now earlier"), PUT)
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
    met = trouble(error, PUT)
    assert met.kind == PASSING
    assert f"can't be reached at {URL}" in met.line


def test_an_untrusted_certificate_is_told_as_such() -> None:
    met = trouble(SSLError(endpoint_url=URL, error=OSError("self-signed certificate")), PUT)
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
    assert trouble(error, PUT).kind == KEYS


@pytest.mark.parametrize("error", [ResponseParserError("no JSON"), KeyError("RequestResponses"), ValueError("2 for 3")])
def test_another_server_than_firehose_is_told_as_such(error: Exception) -> None:
    met = trouble(error, PUT)
    assert met.kind == PASSING
    assert "isn't Firehose" in met.line


def test_every_line_is_one_line_and_every_error_one_that_is_caught() -> None:
    errors = [client_error("Other", 400, "a\nb"), ValueError("a\nb"), NoCredentialsError(), ResponseParserError("a\nb")]
    for error in errors:
        assert isinstance(error, CALL_ERRORS)
        assert "\n" not in trouble(error, PUT).line


def test_a_call_that_was_taken_in_part_is_told_with_the_first_reason() -> None:
    met = partly_refused([Refusal(1, "ServiceUnavailableException", "Slow down.")], 3, PUT)
    assert met.kind == PASSING
    assert "took 2 of 3 records: ServiceUnavailableException: Slow down." in met.line
