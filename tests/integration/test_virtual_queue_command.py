"""``courier virtual`` as a program of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from courier.errors import EXIT_CANNOT_START, EXIT_USAGE
from tests.integration.sqs_endpoints import STOP_SECONDS, VIRTUAL_COMMAND, refusal, sqs_client


class Program:
    """The running command: the lines that it printed until it listened, and its endpoint."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.endpoint = ""
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("listening on "):
                self.endpoint = line.removeprefix("listening on ").strip()
                break


@contextmanager
def program(*arguments: str) -> Iterator[Program]:
    command = [*VIRTUAL_COMMAND, "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def refused(*arguments: str) -> str:
    done = subprocess.run([*VIRTUAL_COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == EXIT_USAGE
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0_and_its_long_polls_with_an_empty_answer(number: signal.Signals) -> None:
    with program("--queue", "jobs") as running:
        sqs = sqs_client(running.endpoint)
        queue = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
        poll = http.client.HTTPConnection(running.endpoint.removeprefix("http://"), timeout=STOP_SECONDS)
        headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Authorization": "any"}
        poll.request("POST", "/", json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20}), headers)
        sqs.list_queues()  # answered after the poll was read
        running.process.send_signal(number)
        assert poll.getresponse().read() == b"{}"
        assert running.process.wait(STOP_SECONDS) == 0


def test_it_says_that_it_is_no_production_queue_and_where_its_queues_are() -> None:
    with program("--queue", "jobs", "--queue", "orders.fifo") as running:
        assert "not a production queue" in running.lines[0]
        assert f"queue {running.endpoint}/000000000000/jobs" in running.lines
        assert f"queue {running.endpoint}/000000000000/orders.fifo" in running.lines


def test_queues_are_made_as_the_options_say() -> None:
    with program("--queue", "jobs", "--visibility-timeout", "7", "--dead-letter-queue", "dead") as running:
        sqs = sqs_client(running.endpoint)
        queue = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        assert attributes["VisibilityTimeout"] == "7"
        policy = json.loads(attributes["RedrivePolicy"])
        assert policy["deadLetterTargetArn"].endswith(":dead")
        assert policy["maxReceiveCount"] == 10
        assert [url.rpartition("/")[2] for url in sqs.list_queues()["QueueUrls"]] == ["dead", "jobs"]


def test_a_name_that_ends_in_fifo_makes_a_fifo_queue() -> None:
    options = ("--queue", "a.fifo", "--dead-letter-queue", "dead.fifo", "--max-receives", "3", "--latency-ms", "1")
    with program(*options) as running:
        sqs = sqs_client(running.endpoint)
        queue = sqs.get_queue_url(QueueName="a.fifo")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["FifoQueue", "RedrivePolicy"])[
            "Attributes"
        ]
        assert attributes["FifoQueue"] == "true"
        assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 3


def test_a_host_that_others_may_reach_is_warned_about() -> None:
    with program("--host", "0.0.0.0") as running:
        (warning,) = [line for line in running.lines if line.startswith("warning: ")]
        assert "0.0.0.0" in warning
        assert "--host 127.0.0.1" in warning
        assert running.endpoint.startswith("http://0.0.0.0:")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_a_host_that_is_this_machines_alone_is_not(host: str) -> None:
    with program("--host", host) as running:
        assert not any("warning" in line for line in running.lines)


def test_half_finished_requests_keep_nobody_out_and_are_closed() -> None:
    with program("--queue", "jobs") as running, contextlib.ExitStack() as stack:
        host, port = running.endpoint.removeprefix("http://").split(":")
        sqs = sqs_client(running.endpoint)
        queue = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
        half = [stack.enter_context(socket.create_connection((host, int(port)), STOP_SECONDS)) for _ in range(300)]
        for number, client in enumerate(half):
            client.sendall((b"", b"POST / HTTP/1.1\r\nHost: a\r\nX-Long: ")[number % 2])
        sqs.send_message(QueueUrl=queue, MessageBody="hello")
        (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        assert message["Body"] == "hello"
        assert {client.recv(13) for client in half} == {b"", b"HTTP/1.1 408 "}


def test_the_largest_batch_is_taken_however_its_json_is_written() -> None:
    with program("--queue", "jobs") as running:
        entries = [{"Id": str(n), "MessageBody": "a" * 104_857} for n in range(10)]
        queue = f"{running.endpoint}/000000000000/jobs"
        body = json.dumps({"QueueUrl": queue, "Entries": entries}).replace("a" * 104_857, "\\u0061" * 104_857)
        client = http.client.HTTPConnection(running.endpoint.removeprefix("http://"), timeout=STOP_SECONDS)
        headers = {"X-Amz-Target": "AmazonSQS.SendMessageBatch", "Authorization": "any"}
        client.request("POST", "/", body, headers)
        answer = client.getresponse()
        assert (answer.status, len(json.loads(answer.read())["Successful"])) == (200, 10)
        client.request("POST", "/", " " * 8_000_000, headers)
        assert client.getresponse().status == 413


def test_the_session_token_of_a_role_fits_into_the_head() -> None:
    with program("--queue", "jobs") as running:
        sqs = sqs_client(running.endpoint, session_token="t" * 12_000)
        assert sqs.list_queues()["QueueUrls"] == [f"{running.endpoint}/000000000000/jobs"]


def test_what_cannot_be_is_told_with_the_option_that_says_it() -> None:
    assert "--queue" in refused("--queue", "spa ce")
    assert "--dead-letter-queue" in refused("--dead-letter-queue", "spa ce")
    assert "--queue" in refused("--queue", "a.fifo", "--dead-letter-queue", "standard")
    assert "--dead-letter-queue" in refused("--queue", "a", "--max-receives", "3")
    assert "--port" in refused("--port", "70000")


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with program() as running:
        port = running.endpoint.rpartition(":")[2]
        command = [*VIRTUAL_COMMAND, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == EXIT_CANNOT_START
        assert f"127.0.0.1:{port}" in done.stderr
        assert "Traceback" not in done.stderr


def test_clients_of_all_regions_find_the_queues_of_the_start() -> None:
    with program("--queue", "jobs", "--dead-letter-queue", "dead") as running:
        for region in ("eu-west-1", "us-east-2"):
            sqs = sqs_client(running.endpoint, region=region)
            queue = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
            given = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
            assert given["QueueArn"] == f"arn:aws:sqs:{region}:000000000000:jobs"
            target = json.loads(given["RedrivePolicy"])["deadLetterTargetArn"]
            assert target == f"arn:aws:sqs:{region}:000000000000:dead"


@pytest.mark.parametrize("enforced", [False, True])
def test_the_waits_of_sqs_are_enforced_if_asked_for(enforced: bool) -> None:
    with program("--queue", "jobs", *(["--enforce-waits"] if enforced else [])) as running:
        sqs = sqs_client(running.endpoint)
        queue = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
        sqs.purge_queue(QueueUrl=queue)
        if enforced:
            in_progress = "AWS.SimpleQueueService.PurgeQueueInProgress"
            assert refusal(sqs.purge_queue, QueueUrl=queue) == in_progress
        sqs.delete_queue(QueueUrl=queue)
        if enforced:
            recently = "AWS.SimpleQueueService.QueueDeletedRecently"
            assert refusal(sqs.create_queue, QueueName="jobs") == recently
        else:
            assert sqs.create_queue(QueueName="jobs")["QueueUrl"] == queue
