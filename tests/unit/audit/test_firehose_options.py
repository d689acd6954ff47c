from __future__ import annotations

from typing import Any

import pytest

from courier.config.config import OPTIONS, Config
from courier.errors import ConfigError


def config(**values: Any) -> Config:
    given: dict[str, Any] = {"queue": "orders", "recipient_url": "http://127.0.0.1:1/", "audit": "firehose"}
    return Config(**(given | values))


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        config(**values)
    return str(refused.value)


@pytest.mark.parametrize("name", ["audit", "Audit_2.log-eu", "a" * 64])
def test_names_of_streams_are_taken(name: str) -> None:
    assert config(firehose_stream=name).firehose_stream == name


@pytest.mark.parametrize("name", ["a b", "a" * 65, "arn:aws:firehose:eu-west-1:123456789012:deliverystream/audit"])
def test_what_names_no_stream_is_refused(name: str) -> None:
    line = refusal(firehose_stream=name)
    assert line.startswith("--firehose-stream: ")
    assert "must be a name, not an ARN" in line


def test_a_missing_stream_is_told_with_its_variables() -> None:
    line = refusal()
    assert line.startswith("--firehose-stream: is missing")
    assert "AWS_FIREHOSE_STREAM" in line
    assert OPTIONS["firehose_stream"].variables == ("COURIER_FIREHOSE_STREAM", "AWS_FIREHOSE_STREAM")


def test_an_endpoint_must_be_a_url() -> None:
    assert refusal(firehose_stream="audit", firehose_endpoint_url="4566").startswith("--firehose-endpoint-url: ")
    assert config(firehose_stream="audit", firehose_endpoint_url="http://127.0.0.1:4566").firehose_endpoint_url


def test_a_stream_in_the_environment_is_no_obstacle_for_another_audit_log() -> None:
    assert config(audit="files", firehose_stream="any thing").audit == "files"
