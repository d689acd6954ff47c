"""Fixtures of the integration tests."""

from collections.abc import Iterator

import pytest

from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.integration.http_transports import open_transport, talking
from tests.integration.sqs_endpoints import CREDENTIALS, endpoint, moto_server, sqs, virtual_queue

__all__ = ["endpoint", "moto_server", "open_transport", "sqs", "talking", "virtual_queue"]


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give boto3 credentials for a server of the tests."""
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), CREDENTIALS, strict=True):
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[FaultyS3]:
    """Return the server of :func:`s3`, with what earlier tests left."""
    with faulty_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: FaultyS3) -> FaultyS3:
    """Return a server of S3's API that can fail, empty."""
    s3_server.reset()
    return s3_server
