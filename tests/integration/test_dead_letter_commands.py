"""The commands on dead letters, on the virtual queue and on moto: what they show, save and send, and leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.integration.sqs_endpoints import REGION, create_queue, redrive_policy, sqs_client, unique_name
from tests.process.contents import Contents
from tests.unit.audit.written import event, write
from tests.unit.dlq.letters import why


def run(
    endpoint: str, *arguments: str | Path, stdin: bytes = b"", code: int = 0, cwd: Path | None = None
) -> tuple[bytes, str]:
    """Run a command, and return its output and its notes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}
    environment |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "COURIER_ENDPOINT_URL": endpoint,
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-m", "courier", *map(str, arguments)],
        input=stdin, env=environment, cwd=cwd, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    notes = done.stderr.decode()
    assert done.returncode == code, notes
    assert "Traceback" not in notes
    return done.stdout, notes


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


def put(sqs: Any, url: str, body: str, *, failure: dict[str, Any] | None = None, **attributes: str) -> str:
    values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    if failure is not None:
        values["CourierFailure"] = {"DataType": "String", "StringValue": why(**failure).value}
    return str(sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=values)["MessageId"])


def drain(sqs: Any, url: str) -> list[dict[str, Any]]:
    """Receive and delete all messages that wait."""
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"], WaitTimeSeconds=1
    ).get("Messages"):
        found += messages
        for each in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return found


def test_a_look_shows_the_reason_and_leaves_every_message_where_it_was(endpoint: str, sqs: Any) -> None:
    url = create_queue(endpoint)
    put(sqs, url, "one", failure={}, tenant="acme")
    put(sqs, url, "two", failure={"reason": "timeout", "status": None})
    out, notes = run(endpoint, "dlq", "peek", name_of(url), "--format", "json", "--where", "status=404", "--bodies")
    (line,) = out.splitlines()
    fields = orjson.loads(line)
    assert (fields["reason"], fields["status"], fields["source_queue"], fields["original_id"], fields["body"]) == (
        "status 404", 404, "orders", "a-1", "one",
    )  # fmt: skip
    assert "2 messages received and shown again" in notes
    table, _ = run(endpoint, "dlq", "peek", url)
    assert table.startswith(b"MESSAGE ")
    assert b"timeout" in table
    assert b"one" not in table
    assert sorted(run(endpoint, "dlq", "peek", name_of(url), "--format", "body")[0].splitlines()) == [b"one", b"two"]
    counts = orjson.loads(run(endpoint, "dlq", "stats", url, "--by", "status", "-o", "json")[0])
    assert {row["status"]: row["messages"] for row in counts["rows"]} == {"404": 1, "none": 1}
    left = drain(sqs, url)
    assert sorted(each["Body"] for each in left) == ["one", "two"]
    assert {each["Attributes"]["ApproximateReceiveCount"] for each in left} == {"5"}


def test_a_limit_receives_no_more_than_it_shows(endpoint: str, sqs: Any) -> None:
    url = create_queue(endpoint)
    for number in range(12):
        put(sqs, url, str(number))
    out, notes = run(endpoint, "dlq", "peek", url, "--limit", "3", "--format", "body")
    assert len(out.splitlines()) == 3
    assert "3 messages received" in notes
    receives = [each["Attributes"]["ApproximateReceiveCount"] for each in drain(sqs, url)]
    assert sorted(receives) == ["1"] * 9 + ["2"] * 3


def test_the_reason_of_a_message_that_sqs_moved_is_in_the_audit_log(endpoint: str, sqs: Any, tmp_path: Path) -> None:
    dead = create_queue(endpoint)
    source = create_queue(
        endpoint, {"RedrivePolicy": redrive_policy(endpoint, dead, 1), "VisibilityTimeout": "0"}, stem="source"
    )
    message_id = put(sqs, source, "moved")
    for _ in range(3):
        sqs.receive_message(QueueUrl=source)
    write(tmp_path, 1, [event(message_id=message_id, reason="status 503", status=503, time="2026-11-26T10:00:00.000Z")])
    out, notes = run(endpoint, "dlq", "peek", dead, "--audit-path", tmp_path, "--where", "reason~503", "-o", "json")
    fields = orjson.loads(out)
    assert (fields["reason"], fields["status"], fields["failed_at"], fields["known_from"]) == (
        "status 503", 503, "2026-11-26T10:00:00.000Z", "audit log",
    )  # fmt: skip
    _, notes = run(endpoint, "dlq", "peek", source)
    assert "has a redrive policy itself: after 1 receive SQS moves a message to" in notes


def test_what_was_exported_is_sent_again_as_it_was(endpoint: str, sqs: Any, tmp_path: Path) -> None:
    url, again = create_queue(endpoint), create_queue(endpoint, stem="orders-again")
    bodies = ["plain", '{"a": "\u2028é💩"}', "line\nbreak\t", "x" * 200_000]
    for body in bodies:
        put(sqs, url, body, failure={}, tenant="acme")
    sqs.send_message(
        QueueUrl=url,
        MessageBody="typed",
        MessageAttributes={
            "n": {"DataType": "Number.int", "StringValue": "7"},
            "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )
    _, notes = run(endpoint, "dlq", "export", url, "--to", "out.jsonl", cwd=tmp_path)
    assert "5 messages written to out.jsonl" in notes
    out, _ = run(endpoint, "send", again, "--from", "out.jsonl", cwd=tmp_path)
    assert out.decode() == f"5 messages sent to {name_of(again)}\n"
    found = drain(sqs, again)
    assert sorted(each["Body"] for each in found) == sorted([*bodies, "typed"])
    for each in found:
        attributes = each["MessageAttributes"]
        if each["Body"] == "typed":
            assert attributes["n"] == {"DataType": "Number.int", "StringValue": "7"}
            assert attributes["b"] == {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
        else:
            assert attributes["tenant"]["StringValue"] == "acme"
            assert attributes["Courier-Redrive-Of"]["StringValue"] == "a-1"
    assert len(drain(sqs, url)) == 5


def sent_back(sqs: Any, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what is compared of a message, as it was sent or as it was received."""
    system = entry.get("Attributes", {})
    trace = entry.get("MessageSystemAttributes", {}).get("AWSTraceHeader", {}).get("StringValue")
    attributes = entry.get("MessageAttributes", {})
    return {
        "body": entry.get("MessageBody", entry.get("Body")),
        "group": entry.get("MessageGroupId", system.get("MessageGroupId")),
        "trace": trace or system.get("AWSTraceHeader"),
        "attributes": {name: value for name, value in attributes.items() if name != "Courier-Redrive-Of"},
    }


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.full) for n in range(2, 8))])
@pytest.mark.parametrize("fifo", [False, True])
def test_whatever_a_queue_holds_comes_back(virtual_queue: str, tmp_path: Path, seed: int, fifo: bool) -> None:
    url, again = create_queue(virtual_queue, fifo=fifo), create_queue(virtual_queue, fifo=fifo, stem="again")
    sqs, contents = sqs_client(virtual_queue), Contents(seed, fifo=fifo)
    sent: dict[str, dict[str, Any]] = {}
    for _ in range(40):
        entry = contents.entry()
        sent[sqs.send_message(QueueUrl=url, **entry)["MessageId"]] = sent_back(sqs, entry)
    run(virtual_queue, "dlq", "export", url, "--to", "out.jsonl", cwd=tmp_path)
    exported = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    # A FIFO queue shows ten messages of a group at most.
    assert fifo or len(exported) == 40
    run(virtual_queue, "send", again, "--from", "out.jsonl", cwd=tmp_path)
    found = drain(sqs, again)
    by_id = {each["MessageAttributes"].get("Courier-Redrive-Of", {}).get("StringValue"): each for each in found}
    assert len(found) == len(exported)
    for message_id in (each["message_id"] for each in exported):
        if message_id in by_id:
            assert sent_back(sqs, by_id[message_id]) == sent[message_id]
        else:
            # No room for the id.
            assert sent[message_id] in [sent_back(sqs, each) for each in found]


def test_an_export_writes_no_file_over_another_and_none_that_is_not_whole(
    endpoint: str, sqs: Any, tmp_path: Path
) -> None:
    url = create_queue(endpoint)
    put(sqs, url, "one")
    (tmp_path / "there").write_text("mine")
    _, notes = run(endpoint, "dlq", "export", url, "--to", tmp_path / "there", code=2)
    assert "--to:" in notes
    run(endpoint, "dlq", "export", unique_name("none"), "--to", tmp_path / "other", code=3)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    out, _ = run(endpoint, "dlq", "export", url, "--to", "-")
    assert orjson.loads(out)["body"] == "one"


def test_test_messages_have_what_the_options_say(endpoint: str, sqs: Any) -> None:
    url = create_queue(endpoint)
    attributes = ("-a", "tenant=a=b", "-a", "price:Number=5", "-a", "blob:Binary=AP8=")
    run(endpoint, "send", name_of(url), *attributes, "--count", "2", "one", "two")
    run(endpoint, "send", url, "-", stdin=b"three\n\nfour\r\nfive")
    found = drain(sqs, url)
    assert sorted(each["Body"] for each in found) == ["five", "four", "one", "one", "three", "two", "two"]
    (values, *_) = [each["MessageAttributes"] for each in found if each["Body"] == "one"]
    assert values["tenant"]["StringValue"] == "a=b"
    assert (values["price"]["DataType"], values["blob"]["BinaryValue"]) == ("Number", b"\x00\xff")


def test_a_fifo_queue_gets_groups_and_ids_and_keeps_the_order(endpoint: str, sqs: Any) -> None:
    url = create_queue(endpoint, fifo=True)
    run(endpoint, "send", url, "--group", "g", *map(str, range(25)))
    # The same bodies again: they are no repeats.
    run(endpoint, "send", url, "--group", "g", "0")
    run(endpoint, "send", url, "--group", "g", "--dedup-id", "mine", "--count", "3", "once")
    found = drain(sqs, url)
    assert [each["Body"] for each in found] == [*map(str, range(25)), "0", "once"]
    assert {each["Attributes"]["MessageGroupId"] for each in found} == {"g"}


def test_a_message_that_the_queue_refuses_is_named_and_the_others_are_sent(endpoint: str, sqs: Any) -> None:
    url = create_queue(endpoint)
    lines = [b'{"body":"good"}', b"rubbish", orjson.dumps({"body": "x" * 1_100_000})]
    out, notes = run(endpoint, "send", url, "--from", "-", stdin=b"\n".join(lines), code=1)
    assert out.startswith(b"1 message sent")
    assert all(f"line {number}: " in notes for number in (2, 3))
    assert [each["Body"] for each in drain(sqs, url)] == ["good"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send", "QUEUE"], "BODY: is missing"),
        (["send", "QUEUE", ""], "BODY: must not be empty"),
        (["send", "QUEUE", "-", "x"], "BODY: must be - alone"),
        (["send", "QUEUE", "-", "--count", "2"], "--count: must be left out with -"),
        (["send", "QUEUE", "x", "--skip", "2"], "--skip: must be left out"),
        (["send", "QUEUE", "x", "--from", "-"], "BODY: must be left out with --from"),
        (["send", "QUEUE", "--group", "g", "--from", "-"], "--group: must be left out with --from"),
        (["send", "QUEUE", "x", "--dedup-id", "d"], "--dedup-id: must be left out"),
        (["send", "QUEUE", "x", "--delay", "901"], "--delay: '901' must be whole seconds from 0 to 900"),
        (["send", "QUEUE", "x", "-a", "n"], "--attribute: 'n' must be NAME=VALUE"),
        (["send", "QUEUE", "x", "-a", "n:Text=v"], "--attribute: 'n:Text=v' must be"),
        (["send", "QUEUE", "x", "-a", "n=1", "-a", "n:Number=2"], "--attribute: 'n' must be given once"),
        (["send", "QUEUE", "--from", "none.jsonl"], "--from: cannot read none.jsonl"),
        (["send", "bad name", "x"], "QUEUE: must be a URL, or a name"),
        (["dlq", "peek"], "QUEUE: is missing"),
        (["dlq", "peek", "bad name"], "QUEUE: must be a URL, or a name"),
        (["dlq", "peek", "QUEUE", "--where", "state=1"], "--where: 'state=1' must begin with"),
        (["dlq", "peek", "QUEUE", "--regex", "("], "--regex: "),
        (["dlq", "peek", "QUEUE", "--limit", "0"], "--limit: '0' must be a whole number"),
        (["dlq", "stats", "QUEUE", "--by", "state"], "--by: 'state' must be reason"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_would_be_right(
    virtual_queue: str, tmp_path: Path, arguments: list[str], words: str
) -> None:
    url = create_queue(virtual_queue)
    given = [name_of(url) if each == "QUEUE" else each for each in arguments]
    out, notes = run(virtual_queue, *given, code=2, cwd=tmp_path)
    assert notes.startswith(f"courier: error: {words}")
    assert notes.count("\n") == 1
    assert out == b""


def test_what_a_queue_of_another_kind_does_not_take_is_refused(virtual_queue: str) -> None:
    fifo = create_queue(virtual_queue, fifo=True)
    assert "--group: is missing" in run(virtual_queue, "send", fifo, "x", code=2)[1]
    assert (
        "--delay: must be left out" in run(virtual_queue, "send", fifo, "x", "--group", "g", "--delay", "5", code=2)[1]
    )


def test_the_queue_of_the_file_is_never_looked_at(virtual_queue: str, sqs: Any, tmp_path: Path) -> None:
    url = create_queue(virtual_queue)
    (tmp_path / "courier.toml").write_text(f'queue = "{name_of(url)}"\naudit-path = "/nowhere"\n')
    file = ("--config", tmp_path / "courier.toml")
    assert "QUEUE: is missing" in run(virtual_queue, "dlq", "peek", *file, code=2)[1]
    assert "QUEUE: is missing" in run(virtual_queue, "send", *file, code=2)[1]
    assert "no reasons from the audit log" in run(virtual_queue, "dlq", "peek", url, *file)[1]
    assert "/nowhere" in run(virtual_queue, "dlq", "peek", url, "--audit-path", "/nowhere", code=3)[1]


@pytest.mark.parametrize(
    "condition", ["status!=404", "reason!~timeout", "answer!=x", "source!=x", "failed>2026-01-01", "status=none"]
)
def test_what_is_chosen_by_its_failure_needs_the_log_that_a_variable_names(
    endpoint: str, sqs: Any, tmp_path: Path, condition: str
) -> None:
    url = create_queue(endpoint)
    put(sqs, url, "kept")
    (tmp_path / "courier.toml").write_text('audit-path = "/nowhere"\n')
    command = ("dlq", "drop", url, "--yes", "--config", tmp_path / "courier.toml", "--where", condition)
    out, notes = run(endpoint, *command, code=3, cwd=tmp_path)
    assert (out, notes.count("\n")) == (b"", 1)
    assert "--where: needs the reasons of the audit log" in notes
    assert "/nowhere" in notes
    assert [each["Body"] for each in drain(sqs, url)] == ["kept"]
