"""The same certificates are trusted by boto3, when a queue is resolved, and by our own session afterwards."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import uvloop

from courier.errors import CannotStart, SqsError
from courier.sqs.client import SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.errors import NETWORK
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from courier.sqs.received import Received
from courier.sqs.trusted_certificates import trusted_context
from tests.unit.sqs.aws_environment import no_aws, static_keys
from tests.unit.sqs.canned import Canned, CannedServer, Request, canned_json, canned_server

__all__ = ["no_aws", "static_keys"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def sqs(static_keys: None, authority: trustme.CA) -> Iterator[CannedServer]:
    def answer(request: Request) -> Canned:
        if request.action == "GetQueueUrl":
            return canned_json({"QueueUrl": "https://127.0.0.1/000000000000/orders"})
        if request.action == "GetQueueAttributes":
            return canned_json({"Attributes": {"VisibilityTimeout": "30"}})
        return canned_json({})

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with canned_server(answer, tls) as server:
        yield server


def receive(queue: QueueInfo) -> Received:
    async def scenario() -> Received:
        source = CredentialSource(aws_configuration(os.environ).find_keys, queue.region)
        client = SqsClient(asyncio.get_running_loop(), queue, source)
        try:
            return await asyncio.wait_for(client.receive(10, 0, 30), 20)
        finally:
            client.close()
            source.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario())


def test_a_bundle_that_boto3_is_told_to_trust_serves_the_preflight_and_the_hot_calls(
    sqs: CannedServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    queue = resolve_queue(aws_configuration(os.environ), "orders", "eu-west-1", sqs.url)
    assert queue.ca_bundle == str(bundle)
    assert receive(queue) == ([], 0, [])


def test_a_server_of_another_authority_gets_no_call(sqs: CannedServer) -> None:
    with pytest.raises(CannotStart, match="no trusted connection"):
        resolve_queue(aws_configuration(os.environ), "orders", "eu-west-1", sqs.url)
    assert sqs.requests == []


def test_a_hot_call_to_a_server_that_is_not_trusted_fails_without_being_sent(
    sqs: CannedServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    queue = resolve_queue(aws_configuration(os.environ), "orders", "eu-west-1", sqs.url)
    trustme.CA().cert_pem.write_to_path(str(bundle))
    with pytest.raises(SqsError) as caught:
        receive(queue)
    assert (caught.value.code, caught.value.retriable) == (NETWORK, True)
    assert [request.action for request in sqs.requests] == ["GetQueueUrl", "GetQueueAttributes"]


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_bundle_that_cannot_be_read_is_said_with_its_path(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(CannotStart, match=r"ca\.pem.*AWS_CA_BUNDLE"):
        trusted_context(str(bundle))


def test_tls_below_1_2_and_unverified_peers_are_refused() -> None:
    context = trusted_context(None)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_common_name_of_a_certificate_names_nobody() -> None:
    assert not trusted_context(None).hostname_checks_common_name
