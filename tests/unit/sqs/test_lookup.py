"""Looking a queue up over the wire; a canned server says what SQS says when it refuses."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.errors import CannotStart
from courier.http.url_parsing import read_url
from courier.sqs.chain import Chain
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from tests.unit.sqs.aws_environment import no_aws, static_keys
from tests.unit.sqs.canned import Canned, CannedServer, Request, canned_error, canned_json, canned_server

__all__ = ["no_aws", "static_keys"]

QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
REDRIVE = '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":"5"}'
DENIED = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sqs:getqueueattributes"


def describe_queue(**attributes: str) -> Canned:
    return canned_json({"Attributes": {"VisibilityTimeout": "45", **attributes}})


@pytest.fixture(params=["plain", "chain"])
def keys(request: pytest.FixtureRequest, static_keys: None, no_aws: Path) -> None:
    """Keys in the environment: alone, and beside a file of boto3, which its chain has to read."""
    if request.param == "chain":
        (no_aws / "config").write_text("[default]\noutput = json\n")
    assert isinstance(aws_configuration(os.environ), Chain) == (request.param == "chain")


def resolve(queue: str, region: str | None, endpoint_url: str | None) -> QueueInfo:
    return resolve_queue(aws_configuration(os.environ), queue, region, endpoint_url)


@pytest.fixture
def sqs(keys: None) -> Iterator[CannedServer]:
    def answer(request: Request) -> Canned:
        if request.action == "GetQueueUrl":
            return canned_json({"QueueUrl": QUEUE_URL})
        return describe_queue(RedrivePolicy=REDRIVE, MaximumMessageSize="262144")

    with canned_server(answer) as server:
        yield server


def failure_of(queue: str, region: str | None, endpoint_url: str | None) -> str:
    with pytest.raises(CannotStart) as caught:
        resolve(queue, region, endpoint_url)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_name_is_resolved_and_described(sqs: CannedServer) -> None:
    info = resolve("orders", "eu-west-1", sqs.url)
    assert info == QueueInfo(
        url=QUEUE_URL,
        name="orders",
        region="eu-west-1",
        endpoint=read_url(sqs.url),
        fifo=False,
        visibility_timeout=45,
        max_receive_count=5,
        dead_letter="arn:aws:sqs:eu-west-1:123456789012:dead",
        maximum_message_size=262_144,
    )
    assert [request.action for request in sqs.requests] == ["GetQueueUrl", "GetQueueAttributes"]


def test_a_url_is_used_as_it_is_and_its_region_signs(sqs: CannedServer) -> None:
    info = resolve(QUEUE_URL, None, sqs.url)
    assert (info.url, info.name, info.region) == (QUEUE_URL, "orders", "eu-west-1")
    (request,) = sqs.requests
    assert request.action == "GetQueueAttributes"
    assert request.fields["QueueUrl"] == QUEUE_URL
    assert "/eu-west-1/sqs/aws4_request" in request.headers["authorization"]


@pytest.mark.parametrize("name", ["orders", "orders.fifo"])
def test_a_fifo_queue_is_known_as_one(sqs: CannedServer, name: str) -> None:
    sqs.answer_in_order(canned_json({"QueueUrl": QUEUE_URL}), describe_queue(FifoQueue="true"))
    assert resolve(name, "eu-west-1", sqs.url).fifo


def test_a_queue_without_a_redrive_policy_has_none_and_one_that_tells_no_size_takes_what_sqs_does(
    sqs: CannedServer,
) -> None:
    sqs.answer_in_order(describe_queue())
    info = resolve(QUEUE_URL, None, sqs.url)
    assert (info.max_receive_count, info.dead_letter, info.maximum_message_size) == (None, None, 1_048_576)


def test_what_was_found_survives_the_way_through_a_pipe(sqs: CannedServer) -> None:
    info = resolve("orders", "eu-west-1", sqs.url)
    assert QueueInfo.from_json(info.to_json()) == info


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"])
def test_without_an_endpoint_option_boto3_tells_where_the_calls_go(
    sqs: CannedServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, sqs.url)
    assert resolve(QUEUE_URL, None, None).endpoint == read_url(sqs.url)


def test_the_profile_may_tell_region_and_endpoint(sqs: CannedServer, no_aws: Path) -> None:
    (no_aws / "config").write_text(f"[default]\nregion = eu-central-1\nendpoint_url = {sqs.url}\nca_bundle = /ca.pem\n")
    info = resolve("orders", None, None)
    assert (info.region, info.endpoint, info.ca_bundle) == ("eu-central-1", read_url(sqs.url), "/ca.pem")


def test_the_url_of_an_emulators_queue_tells_where_the_calls_go(sqs: CannedServer) -> None:
    info = resolve(f"{sqs.url}/000000000000/orders", "us-east-1", None)
    assert (info.name, info.endpoint) == ("orders", read_url(sqs.url))


def test_the_endpoint_option_is_stronger_than_the_url_of_an_emulators_queue(sqs: CannedServer) -> None:
    info = resolve("http://queue.internal:9324/000000000000/orders", "us-east-1", sqs.url)
    assert (info.url, info.endpoint) == ("http://queue.internal:9324/000000000000/orders", read_url(sqs.url))


def test_no_proxy_is_used_since_the_hot_calls_use_none(sqs: CannedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert resolve("orders", "eu-west-1", sqs.url).name == "orders"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            canned_error(
                "com.amazonaws.sqs#QueueDoesNotExist",
                x_amzn_query_error="AWS.SimpleQueueService.NonExistentQueue;Sender",
            ),
            ["the queue does not exist", "--queue"],
        ),
        (
            canned_error("com.amazon.coral.service#AccessDeniedException", DENIED, 403),
            ["access denied", "sqs:GetQueueUrl", "user/x"],
        ),
        (
            canned_error("com.amazon.coral.service#UnrecognizedClientException", status=403),
            ["AWS does not know the access key"],
        ),
        (
            canned_error("UnrecognizedClient", status=403, x_amzn_query_error="InvalidClientTokenId;Sender"),
            ["AWS does not know the access key", "InvalidClientTokenId"],
        ),
        (
            canned_error("InvalidSignatureException", status=403, x_amzn_query_error="SignatureDoesNotMatch;Sender"),
            ["the secret access key doesn't match the access key", "SignatureDoesNotMatch"],
        ),
        (
            canned_error(
                "InvalidSignatureException",
                "Signature expired: 20250101T000000Z is now earlier than 20250101T010000Z",
                403,
                x_amzn_query_error="SignatureDoesNotMatch;Sender",
            ),
            ["the clock of this machine is wrong"],
        ),
        (canned_error("ExpiredTokenException", status=403), ["credentials have expired"]),
        (canned_error("com.amazonaws.sqs#InvalidAddress", "The address is not valid"), ["InvalidAddress", "not valid"]),
        (Canned(200, b"<html>Welcome to nginx</html>"), ["isn't SQS", "--endpoint-url"]),
        (Canned(200, b"{}"), ["isn't SQS", "--endpoint-url"]),
        (Canned(200, b"[]"), ["isn't SQS", "--endpoint-url"]),
    ],
)
def test_a_refusal_names_queue_action_and_region_and_says_how_to_mend_it(
    sqs: CannedServer, answer: Canned, said: list[str]
) -> None:
    sqs.answer_in_order(answer)
    line = failure_of("orders", "eu-west-1", sqs.url)
    for part in ["'orders'", "GetQueueUrl", "eu-west-1", *said]:
        assert part in line


def test_denied_attributes_name_their_own_iam_action(sqs: CannedServer) -> None:
    sqs.answer_in_order(canned_json({"QueueUrl": QUEUE_URL}), canned_error("AccessDeniedException", DENIED, 403))
    line = failure_of("orders", "eu-west-1", sqs.url)
    assert "allow the IAM action sqs:GetQueueAttributes" in line
    assert "GetQueueAttributes for queue 'orders' in eu-west-1" in line


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"VisibilityTimeout": "soon"},
        {"VisibilityTimeout": "30", "RedrivePolicy": "{"},
        {"RedrivePolicy": "[]"},
        {"VisibilityTimeout": "30", "MaximumMessageSize": "large"},
    ],
)
def test_attributes_that_cannot_be_read_are_no_traceback(sqs: CannedServer, attributes: dict[str, str]) -> None:
    sqs.answer_in_order(canned_json({"Attributes": attributes}))
    assert "isn't SQS" in failure_of(QUEUE_URL, None, sqs.url)


def test_an_endpoint_where_nobody_listens_is_said_within_seconds(keys: None) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: a connect is refused, and nobody else gets the port
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        line = failure_of("orders", "eu-west-1", url)
    assert time.monotonic() - began < 15
    for part in ["'orders'", "GetQueueUrl", "eu-west-1", url, "--endpoint-url"]:
        assert part in line


def test_a_server_that_speaks_no_tls_is_said(keys: None, sqs: CannedServer) -> None:
    line = failure_of("orders", "eu-west-1", sqs.url.replace("http:", "https:"))
    assert "AWS_CA_BUNDLE" in line


def test_a_missing_file_of_certificates_is_said(keys: None, sqs: CannedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    assert "/nowhere/ca.pem" in failure_of("orders", "eu-west-1", sqs.url.replace("http:", "https:"))


def test_without_a_region_the_line_says_where_one_can_be_given(keys: None) -> None:
    assert failure_of("orders", None, None).startswith("no AWS region; give --region, AWS_DEFAULT_REGION")


def test_without_credentials_the_line_says_where_they_can_come_from(no_aws: Path) -> None:
    assert failure_of("orders", "eu-west-1", None).startswith("no AWS credentials found; set AWS_ACCESS_KEY_ID")


@pytest.mark.parametrize(
    ("queue", "region", "endpoint_url", "said"),
    [
        (QUEUE_URL, "us-east-1", None, "in eu-west-1, but --region is us-east-1"),
        ("orders", "eu-west-1", "localhost:4566", "--endpoint-url: the URL must start with http"),
        ("orders", "eu-west-1", "http://localhost:4566/?a=b", "--endpoint-url"),
        ("orders", "not a region", None, "not a region"),
    ],
)
def test_options_that_do_not_fit_are_said(
    keys: None, queue: str, region: str | None, endpoint_url: str | None, said: str
) -> None:
    assert said in failure_of(queue, region, endpoint_url)


def test_a_wrong_endpoint_in_the_environment_is_said(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:4566")
    assert "localhost:4566" in failure_of("orders", "eu-west-1", None)
