"""``courier dlq redrive`` and ``drop`` on the virtual queue and on moto alike, as an operator runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from courier.audit.filter import Filter
from courier.audit.search import search
from courier.message import REDRIVE_OF
from tests.integration.sqs_endpoints import CREDENTIALS, REGION, create_queue, redrive_policy

Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def dlq(endpoint: str, tmp_path: Path) -> Run:
    """Return what runs a command of ``courier dlq``: its exit code, and the lines on stdout and stderr."""
    environment = {
        "PATH": os.environ["PATH"],
        "COURIER_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
        "AWS_REGION": REGION,
    }

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        command = [sys.executable, "-m", "courier", "dlq", *arguments]
        ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90)
        return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()

    return run


def put(sqs: Any, url: str, count: int, **fields: Any) -> None:
    for start in range(0, count, 10):
        numbers = range(start, min(count, start + 10))
        entries = [{"Id": str(n), "MessageBody": f"body {n}", **fields} for n in numbers]
        assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == len(entries)


def take(sqs: Any, url: str) -> list[dict[str, Any]]:
    """Return all messages of a queue, and delete them."""
    messages: list[dict[str, Any]] = []
    while True:
        found = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        ).get("Messages", [])
        if not found:
            return messages
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        messages += found


def test_a_redrive_shows_first_then_moves_what_is_chosen_and_records_each(
    endpoint: str, sqs: Any, dlq: Run, tmp_path: Path
) -> None:
    dead, orders = create_queue(endpoint, stem="dead"), create_queue(endpoint, stem="orders")
    attributes = {"tenant": {"DataType": "String", "StringValue": "acme"}}
    put(sqs, dead, 25, MessageAttributes=attributes)

    code, out, _ = dlq("redrive", dead, "--to", orders, "--regex", "body 1")
    assert code == 0
    assert out[0].startswith("11 messages of dead")
    assert out[-1] == "nothing was redriven; add --yes to do it"

    code, out, _ = dlq("redrive", dead, "--to", orders, "--regex", "body 1", "--yes", "--redrive-audit", "moved")
    assert code == 0, out
    assert out[0].startswith("11 messages redriven to orders")
    copies = take(sqs, orders)
    assert sorted(each["Body"] for each in copies) == sorted(
        f"body {n}" for n in range(25) if f"body {n}".startswith("body 1")
    )
    assert all(each["MessageAttributes"]["tenant"]["StringValue"] == "acme" for each in copies)
    first_ids = {each["MessageAttributes"][REDRIVE_OF]["StringValue"] for each in copies}
    lines = [found.fields for found in search(tmp_path / "moved", Filter(outcomes=frozenset({"redriven"})))]
    assert {each["message_id"] for each in lines} == first_ids
    assert len(lines) == 11
    assert len(take(sqs, dead)) == 14


def test_messages_go_back_to_the_queue_whose_redrive_policy_moved_them(
    request: pytest.FixtureRequest, endpoint: str, sqs: Any, dlq: Run
) -> None:
    dead = create_queue(endpoint, stem="dead")
    policy = {"RedrivePolicy": redrive_policy(endpoint, dead, 1), "VisibilityTimeout": "0"}
    # moto doesn't say where a message came from, which is clear if only one queue has such a policy.
    one = request.node.callspec.params["endpoint"] == "moto_server"
    sources = [create_queue(endpoint, policy, stem="source") for _ in range(1 if one else 2)]
    for number, source in enumerate(sources):
        sqs.send_message(QueueUrl=source, MessageBody=f"from {number}")
        for _ in range(2):
            sqs.receive_message(QueueUrl=source)
        sqs.set_queue_attributes(QueueUrl=source, Attributes={"VisibilityTimeout": "30"})

    code, out, err = dlq("redrive", dead, "--to", "source", "--yes")
    assert (code, err) == (0, []), out
    for number, source in enumerate(sources):
        assert [each["Body"] for each in take(sqs, source)] == [f"from {number}"]


def test_a_fifo_redrive_keeps_the_order_of_each_group(endpoint: str, sqs: Any, dlq: Run) -> None:
    dead = create_queue(endpoint, {"ContentBasedDeduplication": "true"}, stem="dead", fifo=True)
    orders = create_queue(endpoint, stem="orders", fifo=True)
    for number in range(24):
        sqs.send_message(QueueUrl=dead, MessageBody=f"{number}", MessageGroupId=f"g{number % 2}")
    code, out, _ = dlq("redrive", dead, "--to", orders, "--yes")
    assert code == 0, out
    groups: dict[str, list[int]] = {}
    for each in take(sqs, orders):
        groups.setdefault(each["Attributes"]["MessageGroupId"], []).append(int(each["Body"]))
    assert groups == {f"g{g}": list(range(g, 24, 2)) for g in range(2)}
    assert take(sqs, dead) == []


def test_what_has_no_room_for_its_id_stays_with_the_reason(endpoint: str, sqs: Any, dlq: Run) -> None:
    dead, orders = create_queue(endpoint, stem="dead"), create_queue(endpoint, stem="orders")
    ten = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(10)}
    put(sqs, dead, 1, MessageAttributes=ten)
    put(sqs, dead, 2)
    code, out, _ = dlq("redrive", dead, "--to", orders, "--yes")
    assert code == 1
    assert any("its 10 attributes leave no room" in line for line in out)
    assert len(take(sqs, orders)) == 2
    (left,) = take(sqs, dead)
    assert set(left["MessageAttributes"]) == set(ten)


def test_a_drop_leaves_lines_that_can_be_sent_again(endpoint: str, sqs: Any, dlq: Run, tmp_path: Path) -> None:
    dead = create_queue(endpoint, stem="dead")
    put(sqs, dead, 12)
    code, out, _ = dlq("drop", dead)
    assert (code, out[-1]) == (0, "nothing was dropped; add --yes to do it")
    code, out, _ = dlq("drop", dead, "--yes", "--limit", "5", "--drop-audit", "dropped")
    assert (code, out[0]) == (0, "5 messages dropped")
    code, out, _ = dlq("drop", dead, "--yes", "--drop-audit", "dropped")
    assert (code, out[0]) == (0, "7 messages dropped")
    assert take(sqs, dead) == []
    lines = [line for path in sorted((tmp_path / "dropped").glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    assert sorted(orjson.loads(line)["body"] for line in lines) == sorted(f"body {n}" for n in range(12))


def test_a_drop_without_bodies_in_its_records_says_so_before_it_is_done(endpoint: str, dlq: Run) -> None:
    dead = create_queue(endpoint, stem="dead")
    for value, noted in (("none", 1), ("sha256", 1), ("full", 0)):
        _, _, notes = dlq("drop", dead, "--audit-body", value)
        assert sum("can't be brought back" in line for line in notes) == noted


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["redrive", "QUEUE"], 2, "--to: is missing"),
        (["redrive", "QUEUE", "--to", "QUEUE"], 2, "must be another queue"),
        (["redrive", "QUEUE", "--to", "ALIAS"], 2, "must be another queue"),
        (["redrive", "QUEUE", "--to", "source", "--source", "ALIAS"], 2, "must be another queue"),
        (["redrive", "QUEUE", "--to", "no-such-queue"], 3, "--to"),
        (["redrive", "QUEUE", "--to", "source"], 2, "--source"),
        (["redrive", "QUEUE", "--to", "x", "--source", "y"], 2, "--source: must be left out"),
        (["drop", "no-such-queue"], 3, "no-such-queue"),
        (["drop", "QUEUE", "--where", "nonsense"], 2, "--where"),
        (["drop", "QUEUE", "--yes", "--where", "reason~"], 2, "--where"),
        (["drop", "QUEUE", "--yes", "--where", ""], 2, "--where"),
        (["drop", "QUEUE", "--yes", "--text", ""], 2, "--text: is empty"),
        (["drop", "QUEUE", "--yes", "--regex", ""], 2, "--regex: it is empty"),
        (["drop", "QUEUE", "--yes", "--drop-audit", "/dev/null/x"], 3, "/dev/null"),
    ],
)
def test_a_wrong_command_is_one_line_and_changes_nothing(
    endpoint: str, sqs: Any, dlq: Run, arguments: list[str], code: int, word: str
) -> None:
    dead = create_queue(endpoint, stem="dead")
    put(sqs, dead, 1)
    # The host of a URL doesn't count where there is --endpoint-url: it is the same queue.
    names = {"QUEUE": dead, "ALIAS": f"http://alias.example/{dead.split('/', 3)[3]}"}
    ended, out, err = dlq(*(names.get(each, each) for each in arguments))
    assert (ended, out) == (code, [])
    assert len(err) == 1
    assert word in err[0]
    assert len(take(sqs, dead)) == 1
