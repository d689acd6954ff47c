"""What boto3 really raises where it reaches nothing, and the reason that is found behind it."""

from __future__ import annotations

import socket
from typing import Any

import boto3
import pytest
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, EndpointConnectionError

from courier.http.advice import BY_NAME_FAILURE
from courier.http.answer import CONNECT_REFUSED, CONNECT_TIMEOUT, NO_RESOLVER, RESOLVER_FAILED
from courier.sqs.cause import find_cause


def raised(url: str) -> Exception:
    config = Config(connect_timeout=0.5, read_timeout=0.5, retries={"total_max_attempts": 1})
    keys: dict[str, Any] = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.Session(region_name="eu-west-1").client("sqs", endpoint_url=url, config=config, **keys)
    with pytest.raises(BotoCoreError) as caught:
        client.get_queue_url(QueueName="orders")
    return caught.value


def test_a_port_that_nobody_listens_on() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        found = find_cause(raised(f"http://127.0.0.1:{bound.getsockname()[1]}"))
    assert found == (CONNECT_REFUSED, "Connection refused")


def test_a_name_that_is_not_there() -> None:
    found = find_cause(raised("http://nowhere.invalid"))
    assert found is not None
    assert found.reason in BY_NAME_FAILURE


def test_name_servers_that_do_not_answer() -> None:
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    behind = urllib3.exceptions.NameResolutionError("sqs", urllib3.connection.HTTPConnection("sqs"), again)
    behind.__cause__ = again
    found = find_cause(EndpointConnectionError(endpoint_url="https://sqs", error=behind))
    assert found is not None
    assert found.reason in (RESOLVER_FAILED, NO_RESOLVER)


def test_nobody_who_answers() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        # What is beyond the backlog gets no answer at all.
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        found = find_cause(raised(f"http://127.0.0.1:{port}"))
        for each in waiting:
            each.close()
    assert found is not None
    assert found.reason == CONNECT_TIMEOUT


def test_an_error_with_nothing_behind_it_has_no_cause() -> None:
    assert find_cause(EndpointConnectionError(endpoint_url="https://sqs")) is None
