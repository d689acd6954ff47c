"""What is found out about a Firehose stream before the start: one line each, that says how to fix it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from courier.audit.firehose_stream import check_stream_active
from courier.audit.stream import Stream
from courier.config.config import Config
from courier.errors import CannotStart
from courier.preflight import check_stream, preflight
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from courier.wiring.audit import audit_stream
from scripts.faults.firehose_server import Firehose
from tests.integration.firehose_places import moto_stream, server
from tests.integration.misbehaving_server import MisbehavingServer, answer
from tests.integration.sqs_endpoints import REGION, create_queue
from tests.unit.sqs.aws_environment import no_aws, static_keys

__all__ = ["no_aws", "server", "static_keys"]

pytestmark = pytest.mark.usefixtures("static_keys")


def refusal(stream: Stream) -> str:
    with pytest.raises(CannotStart) as raised:
        check_stream_active(stream)
    line = str(raised.value)
    assert "\n" not in line
    return line


def stream(server: Firehose, **changes: Any) -> Stream:
    return Stream(server.name, REGION, server.url)._replace(**changes)


def config(server: Firehose, **values: Any) -> Config:
    given: dict[str, Any] = {
        "queue_type": "virtual",
        "recipient_url": "http://127.0.0.1:1/",
        "audit": "firehose",
        "firehose_stream": server.name,
        "firehose_endpoint_url": server.url,
        "region": REGION,
    }
    return Config(**(given | values))


def test_an_active_stream_is_found_on_moto_and_on_ours(server: Firehose, moto_server: str) -> None:
    for found in (stream(server), moto_stream(moto_server).stream):
        assert check_stream_active(found) == f"Firehose stream {found.name!r} in us-east-1 is ACTIVE"


def test_a_stream_that_is_missing_is_told_with_its_region_on_both(server: Firehose, moto_server: str) -> None:
    for found in (
        stream(server, name="none"),
        moto_stream(moto_server).stream._replace(name="none", region="eu-west-1"),
    ):
        line = refusal(found)
        assert f"'none' in {found.region}" in line
        assert "correct --firehose-stream, --region" in line


@pytest.mark.parametrize("status", ["CREATING", "CREATING_FAILED", "DELETING", "DELETING_FAILED"])
def test_a_stream_that_takes_no_records_yet_or_no_more_is_told(server: Firehose, status: str) -> None:
    server.status = status
    assert f"is {status}; wait until it is ACTIVE" in refusal(stream(server))


def test_a_stream_that_is_filled_from_elsewhere_is_told(server: Firehose) -> None:
    server.source = "KinesisStreamAsSource"
    line = refusal(stream(server))
    assert "KinesisStreamAsSource" in line
    assert "Direct PUT" in line


def test_a_denied_look_is_no_obstacle_and_is_told(server: Firehose) -> None:
    server.denied.add("DescribeDeliveryStream")
    check = check_stream(stream(server))
    assert check.ok
    assert "firehose:DescribeDeliveryStream is denied" in check.detail


def test_keys_that_nobody_knows_are_told(server: Firehose) -> None:
    server.unknown_keys.add("AKIDEXAMPLE")
    assert "does not know the access key" in refusal(stream(server))


def test_without_a_region_there_is_no_guess(server: Firehose, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no AWS region for Firehose; give --region" in refusal(stream(server, region=None))
    assert "us-west-2" in check_stream_active(stream(server, region=None, fallback_region="us-west-2"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert "eu-central-1" in check_stream_active(stream(server, region=None, fallback_region="us-west-2"))
    assert REGION in check_stream_active(stream(server, fallback_region="us-west-2"))


def test_without_credentials_it_is_told_what_to_set(server: Firehose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "set AWS_ACCESS_KEY_ID" in refusal(stream(server))


def test_an_unknown_profile_is_told(server: Firehose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in refusal(stream(server))


def test_an_endpoint_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    line = refusal(Stream("audit", REGION, f"http://127.0.0.1:{port}"))
    assert f"can't be reached at http://127.0.0.1:{port}" in line
    assert "--firehose-endpoint-url" in line


def test_a_server_that_is_not_firehose_is_told() -> None:
    page = b"<html>It works!</html>"
    with MisbehavingServer(answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)) as server:
        assert "isn't Firehose" in refusal(Stream("audit", REGION, f"http://127.0.0.1:{server.port}"))


def test_the_endpoint_of_boto3s_own_configuration_counts(server: Firehose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", server.url)
    assert "ACTIVE" in check_stream_active(stream(server, endpoint_url=None))


def test_the_preflight_looks_at_the_stream_in_place_of_a_directory(server: Firehose, tmp_path: Path) -> None:
    found = preflight(config(server, audit_path=tmp_path / "audit"))
    assert [(check.name, check.ok) for check in found.checks] == [
        ("credentials", True),
        ("audit", True),
        ("recipient", True),
    ]
    assert not (tmp_path / "audit").exists()


def test_the_preflight_says_what_is_wrong_and_how_to_mend_it(server: Firehose) -> None:
    [_, audit, _] = preflight(config(server, firehose_stream="none")).checks
    assert not audit.ok
    assert "does not exist" in audit.detail
    assert audit.advice.startswith("correct --firehose-stream")


def test_without_credentials_firehose_is_not_asked(server: Firehose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = preflight(config(server))
    assert [(check.name, check.ok) for check in found.checks] == [("credentials", False), ("recipient", True)]


def test_the_region_of_the_queue_is_the_last_resort(virtual_queue: str, server: Firehose) -> None:
    url = create_queue(virtual_queue)
    queue = resolve_queue(aws_configuration(os.environ), url, REGION, virtual_queue)
    assert audit_stream(config(server, region=None), queue).fallback_region == REGION
    assert audit_stream(config(server, region="eu-west-1"), queue).region == "eu-west-1"
    assert audit_stream(config(server), None).fallback_region is None
