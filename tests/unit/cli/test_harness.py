from __future__ import annotations

import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.local.harness import due
from tests.integration.sqs_endpoints import create_queue, running_virtual_queue, sqs_client
from tests.unit.cli.running import Running, running, until


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_virtual_queue() as url:
        yield url


def address(harness: Running) -> str:
    harness.wait_for("event=answering")
    match = re.search(r"event=answering url=(\S+)", harness.text())
    assert match is not None
    return match[1]


def last_line(harness: Running) -> str:
    return harness.text().splitlines()[-1]


def test_a_harness_that_only_receives_answers_every_post_and_logs_the_body(tmp_path: Path) -> None:
    with running(tmp_path, "harness", "--no-broadcast", "--port", "0") as harness:
        url = address(harness)
        request = urllib.request.Request(f"{url}/any", b"the body", {"X-Aws-Sqsd-Msgid": "id-1"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(url, timeout=10)
        assert harness.signal(signal.SIGTERM) == 0
        assert 'event=received message_id=id-1 body="the body"' in harness.text()
        assert last_line(harness).endswith("event=stopped sent=0 received=1")


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_harness_that_others_may_reach_says_so_in_one_line(tmp_path: Path, host: str, warned: bool) -> None:
    with running(tmp_path, "harness", "--no-broadcast", "--host", host, "--port", "0") as harness:
        address(harness)
        assert harness.signal(signal.SIGTERM) == 0
        lines = [line for line in harness.text().splitlines() if "level=warning" in line]
        assert ["--host 127.0.0.1" in line for line in lines] == [True] * warned


def test_a_harness_takes_the_largest_message_and_nothing_larger(tmp_path: Path) -> None:
    with running(tmp_path, "harness", "--no-broadcast", "--port", "0") as harness:
        url = address(harness)
        with urllib.request.urlopen(urllib.request.Request(url, b"x" * 1024**2), timeout=10) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(urllib.request.Request(url, b"x" * 2 * 1024**2), timeout=10)


@pytest.mark.parametrize("fifo", [False, True])
def test_a_harness_sends_until_it_is_told_to_stop(tmp_path: Path, endpoint: str, fifo: bool) -> None:
    queue = create_queue(endpoint, fifo=fifo)

    def count() -> int:
        answer = sqs_client(endpoint).get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    arguments = ("--queue", queue, "--endpoint-url", endpoint, "--rate", "200", "--port", "0")
    with running(tmp_path, "harness", *arguments) as harness:
        until(lambda: count() >= 30, harness.text)
        assert harness.signal(signal.SIGINT) == 0
        assert re.search(rf"event=stopped sent={count()} received=0$", last_line(harness))


def test_a_harness_at_both_ends_of_the_pipeline_gets_back_what_it_sends(tmp_path: Path, endpoint: str) -> None:
    shared = ("--queue", create_queue(endpoint), "--endpoint-url", endpoint)
    (tmp_path / "harness").mkdir()
    (tmp_path / "pipeline").mkdir()
    with running(tmp_path / "harness", "harness", *shared, "--rate", "100", "--port", "0") as harness:
        recipient = ("--recipient-url", f"{address(harness)}/in")
        with running(tmp_path / "pipeline", *shared, *recipient) as pipeline:
            until(lambda: harness.text().count("event=received") >= 30, lambda: harness.text() + pipeline.text())
            assert harness.signal(signal.SIGTERM) == 0
            assert pipeline.signal(signal.SIGTERM) == 0, pipeline.text()


def test_a_queue_that_does_not_exist_is_one_line(tmp_path: Path, endpoint: str) -> None:
    arguments = ("--queue", "nowhere", "--endpoint-url", endpoint, "--port", "0")
    with running(tmp_path, "harness", *arguments) as harness:
        assert harness.wait() == 3
        assert last_line(harness).startswith("courier: error: ")
        assert "nowhere" in last_line(harness)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running(tmp_path, "harness", "--no-broadcast", "--port", port) as harness:
            assert harness.wait() == 3
            assert re.fullmatch(rf"courier: error: cannot answer on 127.0.0.1:{port}: .*; give .*", last_line(harness))


def test_a_missing_queue_is_wrong_usage_unless_it_only_receives(tmp_path: Path) -> None:
    with running(tmp_path, "harness", "--port", "0") as harness:
        assert harness.wait() == 2
        assert last_line(harness).startswith("courier: error: --queue: is missing")


def test_messages_are_due_evenly_and_the_first_at_once() -> None:
    assert [due(seconds, 2.0) for seconds in (0.0, 0.4, 0.5, 0.9, 1.0, 10.0)] == [1, 1, 2, 2, 3, 21]
