"""SQS on loopback, for tests: the virtual queue and moto's server, each in a process of its own.

The fixtures yield an endpoint URL. Queues are never removed: :func:`unique_name` keeps tests apart, and the
servers are gone at the end of the session.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Sequence

REGION: Final = "us-east-1"
CREDENTIALS: Final = ("test", "test")
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0

VIRTUAL_COMMAND: Final = (sys.executable, "-m", "courier", "virtual")
_numbers = itertools.count(1)


def unique_name(stem: str = "queue", *, fifo: bool = False) -> str:
    """Make a queue name that nothing else in this session uses."""
    return f"{stem}-{os.getpid()}-{next(_numbers)}{'.fifo' if fifo else ''}"


def sqs_client(endpoint: str, session_token: str | None = None, region: str = REGION) -> Any:
    """Make a boto3 SQS client for an endpoint; it doesn't retry, so that a test sees every error."""
    config = Config(retries={"max_attempts": 0}, read_timeout=30)
    key, secret = CREDENTIALS
    return boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name=region,
        config=config,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=session_token,
    )


@pytest.fixture(params=["virtual_queue", "moto_server"])
def endpoint(request: pytest.FixtureRequest) -> str:
    """Return the endpoint URL of a virtual queue, and then that of a moto server."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def sqs(endpoint: str) -> Any:
    return sqs_client(endpoint)


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    """Make a call that SQS refuses, and return the code of its error."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def create_queue(
    endpoint: str, attributes: Mapping[str, str] | None = None, *, stem: str = "queue", fifo: bool = False
) -> str:
    """Create a queue of a unique name and return its URL; ``fifo`` adds the name's suffix and the attribute."""
    wanted = dict(attributes or {})
    if fifo:
        wanted["FifoQueue"] = "true"
    answer = sqs_client(endpoint).create_queue(QueueName=unique_name(stem, fifo=fifo), Attributes=wanted)
    return str(answer["QueueUrl"])


def queue_arn(endpoint: str, queue_url: str) -> str:
    """Ask for the ARN of a queue, as a redrive policy needs it."""
    answer = sqs_client(endpoint).get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def redrive_policy(endpoint: str, dead_letter_url: str, max_receives: int) -> str:
    """Write the RedrivePolicy that sends messages to a dead-letter queue after so many receives."""
    return json.dumps({"deadLetterTargetArn": queue_arn(endpoint, dead_letter_url), "maxReceiveCount": max_receives})


@contextmanager
def running_virtual_queue(*arguments: str) -> Iterator[str]:
    """Run the virtual queue in a process of its own with some options, and yield its endpoint URL."""
    command = [*VIRTUAL_COMMAND, "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield _listening_url(process)
    finally:
        _stop(process)


@contextmanager
def running_moto() -> Iterator[str]:
    """Run moto's server in a process of its own, and yield its endpoint URL."""
    with reserved_port() as port:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        endpoint = f"http://127.0.0.1:{port}"
        try:
            _wait_until_answering(process, f"{endpoint}/moto-api/")
            yield endpoint
        finally:
            _stop(process)


@pytest.fixture(scope="session")
def virtual_queue() -> Iterator[str]:
    """Yield the endpoint URL of a virtual queue that the whole session shares."""
    with running_virtual_queue() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """Yield the endpoint URL of a moto server that the whole session shares."""
    with running_moto() as endpoint:
        yield endpoint


def _listening_url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    seen: Sequence[str] = []
    for line in process.stderr:  # ends with the process, so a failed start can't hang the session
        if line.startswith("listening on "):
            return line.removeprefix("listening on ").strip()
        seen = [*seen, line]
    raise AssertionError(f"the virtual queue did not start: {''.join(seen)}")


def _wait_until_answering(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode} before it answered at {url}"
        try:
            with urllib.request.urlopen(url, timeout=1.0):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing answered at {url} within {START_SECONDS} s")


def _stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()
