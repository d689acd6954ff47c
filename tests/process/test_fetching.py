"""Bodies in S3, end to end: what the recipient gets, what stays in S3, and what a dead S3 costs."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from courier.fetch.pointer import CLASSES
from courier.local.exchange import Response
from tests.faulty_s3 import CUT, DENY, FAIL, LOSE, PASS, STALL, TEAR, THROTTLE, FaultyS3, faulty_s3, kept
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AWS_CLIENT = """
import json, sys
from sqs_extended_client import SQSExtendedClientSession
settings = json.load(sys.stdin)
client = SQSExtendedClientSession(region_name="us-east-1").client("sqs")
client.large_payload_support = settings["bucket"]
client.use_legacy_attribute = settings["legacy"]
client.always_through_s3 = True
for body in settings["bodies"]:
    kind = {"StringValue": "x", "DataType": "String"}
    client.send_message(QueueUrl=settings["url"], MessageBody=body, MessageAttributes={"kind": kind})
"""
SIZE_ATTRIBUTE = "ExtendedPayloadSize"


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    with faulty_s3() as server:
        yield server


def fetching(s3: FaultyS3, *options: str) -> tuple[str, ...]:
    return ("--body", "fetch", "--fetch-bucket", "archive", "--fetch-endpoint-url", s3.url, *options)


def send_pointer(queue: Queue, key: str, bucket: str = "archive", group: str = "", **attributes: str) -> str:
    """Send what the extended client for Java sends, and return the id."""
    named = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    fifo = {"MessageGroupId": group, "MessageDeduplicationId": key} if group else {}
    answer: dict[str, Any] = queue.sqs.send_message(
        QueueUrl=queue.url,
        **fifo,
        MessageBody=json.dumps([CLASSES[0], {"s3BucketName": bucket, "s3Key": key}]),
        MessageAttributes={SIZE_ATTRIBUTE: {"DataType": "Number", "StringValue": "1"}, **named},
    )
    message_id: str = answer["MessageId"]
    return message_id


def is_settled(queue: Queue) -> bool:
    return queue.counts() == (0, 0)


@pytest.mark.parametrize("transport", ["native", "requests"])
@pytest.mark.parametrize("delete", [False, True])
def test_bodies_of_any_size_come_from_s3_and_their_objects_go_only_if_asked(
    queue: Queue, recipient: Recipient, start: Start, s3: FaultyS3, transport: str, delete: bool
) -> None:
    contents = {f"k{size}": os.urandom(size) for size in (0, 10, 100_000, 1 << 20, 3_000_000, 16_000_000)}
    s3.objects.update({key: kept(content) for key, content in contents.items()} | {"other": kept(b"not ours")})
    ids = {send_pointer(queue, key, kind=key): key for key in contents}
    plain = queue.send(["plain"])[0]
    courier = start(queue, *fetching(s3, "--transport", transport), *(["--fetch-delete", "yes"] if delete else []))
    until(lambda: len(recipient.accepted) == len(ids) + 1 and is_settled(queue), explain=courier.log)
    for delivery in recipient.deliveries:
        wanted = b"plain" if delivery.message_id == plain else contents[ids[delivery.message_id]]
        assert hashlib.sha256(delivery.body).digest() == hashlib.sha256(wanted).digest()
        assert not [name for name in delivery.headers if "payloadsize" in name]
        assert delivery.headers.get("x-aws-sqsd-attr-kind") == ids.get(delivery.message_id)
    if delete:
        until(lambda: set(s3.contents()) == {"other"}, explain=courier.log)
    assert courier.drain() == 0
    assert set(s3.contents()) == ({"other"} if delete else {*contents, "other"})
    # What was received is recorded, not what was fetched.
    assert courier.recorded().total() == len(ids) + 1


class Digests(BaseHTTPRequestHandler):
    """A recipient that holds no body in memory: it keeps their digests."""

    protocol_version = "HTTP/1.1"
    server: _DigestServer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            digest.update(piece)
            left -= len(piece)
        self.server.digests.append(digest.hexdigest())
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _DigestServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.digests: list[str] = []
        super().__init__(("127.0.0.1", 0), Digests)


@pytest.fixture
def digests() -> Iterator[_DigestServer]:
    server = _DigestServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def most_memory(pid: int) -> int:
    """Return the bytes of memory that a process has had at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.parametrize("transport", ["native", "requests"])
def test_memory_does_not_grow_with_an_object(
    queue: Queue, start: Start, s3: FaultyS3, digests: _DigestServer, transport: str
) -> None:
    content = os.urandom(1 << 20) * 200
    s3.objects["k"] = kept(content)
    url = f"http://127.0.0.1:{digests.server_port}/in"
    options = ("--transport", transport, "--senders", "1", "--fetch-max-bytes", "1GiB", "--timeout", "100")
    courier = start(queue, *fetching(s3, *options), COURIER_RECIPIENT_URL=url)
    sender = courier.pid_of("sender", 0)
    before = most_memory(sender)
    send_pointer(queue, "k")
    until(lambda: digests.digests and is_settled(queue), 100.0, courier.log)
    assert digests.digests == [hashlib.sha256(content).hexdigest()]
    # The client of S3 takes 15 MB.
    assert most_memory(sender) - before < 60 << 20
    assert courier.drain() == 0


@pytest.mark.parametrize("transport", ["native", "requests"])
def test_a_body_in_a_file_is_signed_whole(
    queue: Queue, recipient: Recipient, start: Start, s3: FaultyS3, tmp_path: Path, transport: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    contents = {key: key.encode() * size for key, size in (("small", 1000), ("large", 600_000), ("gone", 300_000))}
    s3.objects.update({key: kept(content) for key, content in contents.items()})
    ids = {send_pointer(queue, key): key for key in contents}
    options = ("--transport", transport, "--webhook-secret-file", str(secret))
    courier = start(queue, *fetching(s3, *options))
    until(lambda: len(recipient.accepted) == len(ids) and is_settled(queue), explain=courier.log)
    for delivery in recipient.deliveries:
        assert delivery.body == contents[ids[delivery.message_id]]
        Webhook(SECRET).verify(delivery.body.decode(), delivery.headers, json_parse=False)
    assert courier.drain() == 0


@pytest.mark.parametrize("legacy", [False, True])
def test_what_aws_client_for_python_sends_is_what_the_recipient_gets(
    queue: Queue, recipient: Recipient, start: Start, s3: FaultyS3, legacy: bool
) -> None:
    if find_spec("sqs_extended_client") is None:
        pytest.skip("the client isn't installed")
    sent = ["short", "é" * 300_000, '{"n": 1}' * 200_000]
    # In a process of its own: the client changes botocore for all sessions.
    endpoints = {"AWS_ENDPOINT_URL_S3": s3.url, "AWS_ENDPOINT_URL_SQS": queue.endpoint}
    settings = {"url": queue.url, "bucket": s3.bucket, "legacy": legacy, "bodies": sent}
    subprocess.run(
        [sys.executable, "-c", AWS_CLIENT],
        input=json.dumps(settings),
        text=True,
        check=True,
        env={**os.environ, **endpoints, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
    )
    assert len(s3.contents()) == len(sent)
    courier = start(queue, *fetching(s3, "--fetch-delete", "yes"))
    until(lambda: len(recipient.accepted) == len(sent) and is_settled(queue), explain=courier.log)
    assert sorted(delivery.body.decode() for delivery in recipient.deliveries) == sorted(sent)
    for delivery in recipient.deliveries:
        named = {name for name in delivery.headers if name.startswith("x-aws-sqsd-attr-")}
        assert named == {"x-aws-sqsd-attr-kind"}
    until(lambda: not s3.contents(), explain=courier.log)
    assert courier.drain() == 0


def test_a_compressed_object_is_fetched_by_a_pointer_in_an_envelope_and_decoded_from_its_file(
    queue: Queue, recipient: Recipient, start: Start, s3: FaultyS3
) -> None:
    # As SNS sends what its own extended client publishes, without raw delivery. Either body takes a file.
    content = os.urandom(3_000_000) + bytes(4_000_000)
    s3.objects["k"] = kept(gzip.compress(content, 1))
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:orders",
        "Message": json.dumps([CLASSES[0], {"s3BucketName": "archive", "s3Key": "k"}]),
        "Timestamp": "2026-05-02T00:54:06.655Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService.pem",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        "MessageAttributes": {
            SIZE_ATTRIBUTE: {"Type": "Number", "Value": str(len(content))},
            "Content-Encoding": {"Type": "String", "Value": "gzip"},
            "kind": {"Type": "String", "Value": "x"},
        },
    }
    queue.send([json.dumps(envelope)])
    courier = start(queue, *fetching(s3, "--body", "unwrap,fetch,decode", "--fetch-delete", "yes"))
    until(lambda: recipient.accepted and is_settled(queue) and not s3.contents(), explain=courier.log)
    (delivery,) = recipient.deliveries
    assert hashlib.sha256(delivery.body).digest() == hashlib.sha256(content).digest()
    assert [name for name in delivery.headers if name.startswith("x-aws-sqsd-attr-")] == ["x-aws-sqsd-attr-kind"]
    assert courier.drain() == 0
    line = json.loads(next(courier.audit.glob("*.jsonl")).read_bytes().splitlines()[0])
    assert line["sent"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_what_the_message_causes_goes_to_the_failure_queue_with_its_pointer_and_its_object(
    queue: Queue, virtual_queue: str, recipient: Recipient, start: Start, s3: FaultyS3
) -> None:
    failures = Queue(virtual_queue)
    s3.objects["large"] = kept(bytes(5000))
    s3.objects["refused"] = kept(b"no")
    sent = {
        send_pointer(queue, "large"): "body too large",
        send_pointer(queue, "gone"): "object not found",
        send_pointer(queue, "k", "another-bucket"): "bucket not allowed",
        send_pointer(queue, "../another-bucket/k"): "pointer not readable",
        send_pointer(queue, "refused"): "status 400",
    }
    recipient.behave = lambda delivery: Response(400)
    options = ("--failure-queue", failures.name, "--fetch-max-bytes", "4096", "--fetch-delete", "yes")
    courier = start(queue, *fetching(s3, *options), "--reject-share", "0")
    until(lambda: failures.counts()[0] == len(sent) and is_settled(queue), explain=courier.log)
    assert courier.drain() == 0
    reasons = {}
    while answer := failures.sqs.receive_message(
        QueueUrl=failures.url, MessageAttributeNames=["All"], MaxNumberOfMessages=10
    ).get("Messages"):
        for message in answer:
            failure = json.loads(message["MessageAttributes"]["CourierFailure"]["StringValue"])
            reasons[failure["id"] if "id" in failure else message["Body"]] = failure["reason"]
            assert message["Body"].startswith(f'["{CLASSES[0]}"')
            assert SIZE_ATTRIBUTE in message["MessageAttributes"]
    assert sorted(reasons.values()) == sorted(sent.values())
    assert set(s3.contents()) == {"large", "refused"}
    assert {path.split("?")[0].split("/")[1] for _, path in s3.seen} == {"archive"}
    assert len(recipient.deliveries) == 1


def test_a_trial_fetches_and_sends_and_removes_nothing(recipient: Recipient, s3: FaultyS3) -> None:
    s3.objects["k"] = kept(b"the real body")
    pointer = json.dumps([CLASSES[1], {"s3BucketName": "archive", "s3Key": "k"}])
    options = ("--queue", "q", "--recipient-url", recipient.url, *fetching(s3, "--fetch-delete", "yes"), "--post")
    tried = subprocess.run(
        [sys.executable, "-m", "courier", "try", "-", *options],
        input=pointer,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
    )
    assert tried.returncode == 0, tried
    assert "the real body" in tried.stdout
    assert "delivered" in tried.stdout
    assert [delivery.body for delivery in recipient.deliveries] == [b"the real body"]
    assert set(s3.contents()) == {"k"}


@pytest.mark.parametrize("fault", [FAIL, DENY])
def test_a_dead_s3_costs_few_receives_and_delays_no_other_message(
    virtual_queue: str, recipient: Recipient, start: Start, s3: FaultyS3, fault: str
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, 4)
    s3.choose = lambda *_: fault
    keys = [f"k{n}" for n in range(40)]
    s3.objects.update({key: kept(key.encode()) for key in keys})
    for key in keys:
        send_pointer(queue, key)
    courier = start(queue, *fetching(s3), "--senders", "2", "--backoff-base", "0.1")
    until(lambda: "cannot fetch an object" in courier.log(), explain=courier.log)
    plain = queue.send([f"plain {n}" for n in range(200)])
    until(lambda: all(recipient.accepted[each] for each in plain), explain=courier.log)
    until(lambda: queue.counts() == (40, 0) or queue.counts()[0] + queue.counts()[1] == 40, explain=courier.log)
    asked = len(s3.seen)
    time.sleep(2.0)
    # The breaker is open: each sender asks now and then with a single message.
    assert len(s3.seen) - asked < 40
    assert dead.counts() == (0, 0)
    assert "circuit breaker open" not in courier.log()
    s3.choose = lambda *_: PASS
    assert courier.drain() == 0
    assert len(recipient.deliveries) == 200


def test_an_s3_that_answers_nothing_frees_the_slots_for_other_messages(
    queue: Queue, recipient: Recipient, start: Start, s3: FaultyS3
) -> None:
    s3.choose = lambda *_: STALL
    for n in range(60):
        send_pointer(queue, f"k{n}")
    courier = start(queue, *fetching(s3), "--senders", "1", "--concurrency", "16")
    until(lambda: len(s3.seen) >= 16, explain=courier.log)
    plain = queue.send([f"plain {n}" for n in range(50)])
    # The sixteen fetches would hold all slots for half a minute, and those after them for as long again.
    until(lambda: all(recipient.accepted[each] for each in plain), 25.0, courier.log)
    s3.released.set()
    assert courier.drain() == 0
    assert sum(queue.counts()) == 60


def test_a_group_keeps_its_order_whatever_its_bodies_come_from_and_however_often_s3_fails(
    virtual_queue: str, recipient: Recipient, start: Start, s3: FaultyS3
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    draw = random.Random(7)
    s3.choose = lambda *_: draw.choice([PASS, PASS, PASS, FAIL])
    wanted: dict[str, list[str]] = {"g1": [], "g2": [], "g3": []}
    for n in range(60):
        group = draw.choice(list(wanted))
        body = f"{group} {n}"
        if draw.random() < 0.6:
            s3.objects[f"k{n}"] = kept(body.encode() + b" " * draw.choice([0, 2_000_000]))
            send_pointer(queue, f"k{n}", group=group)
        else:
            queue.send([body], [group])
        wanted[group].append(body)
    options = ("--fetch-delete", "yes", "--backoff-cap", "1", "--visibility-timeout", "5")
    courier = start(queue, *fetching(s3, *options))
    until(lambda: is_settled(queue), 100.0, courier.log)
    first: dict[str, list[str]] = {group: [] for group in wanted}
    for delivery in recipient.deliveries:
        body = delivery.body.decode().strip()
        if body not in first[body.split()[0]]:
            first[body.split()[0]].append(body)
    assert first == wanted
    until(lambda: not s3.contents(), explain=courier.log)
    assert courier.drain() == 0


def test_a_drain_gives_up_what_s3_holds_up_and_a_reload_takes_on_another_bucket(
    queue: Queue, recipient: Recipient, start: Start, s3: FaultyS3, tmp_path: Path
) -> None:
    file = tmp_path / "courier.toml"
    file.write_text('fetch-bucket = ["not-this-one"]\n')
    s3.objects["k"] = kept(b"body")
    options = ("--config", str(file), "--body", "fetch", "--fetch-endpoint-url", s3.url, "--drain-timeout", "3")
    courier = start(queue, *options, "--backoff-cap", "1", "--visibility-timeout", "3")
    send_pointer(queue, "k")
    until(lambda: "bucket not allowed" in courier.log(), explain=courier.log)
    file.write_text('fetch-bucket = ["not-this-one", "archive"]\n')
    courier.signal(signal.SIGHUP)
    until(lambda: is_settled(queue), explain=courier.log)
    assert [delivery.body for delivery in recipient.deliveries] == [b"body"]
    s3.choose = lambda *_: STALL
    before = len(s3.seen)
    send_pointer(queue, "k")
    until(lambda: len(s3.seen) > before, explain=courier.log)
    # A delivery was cut.
    assert courier.drain() == 4
    assert sum(queue.counts()) == 1
    assert len(recipient.deliveries) == 1


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_whatever_s3_does_each_message_is_delivered_whole_or_rejected_for_what_it_is(
    virtual_queue: str, recipient: Recipient, start: Start, s3: FaultyS3, seed: int
) -> None:
    troubles(virtual_queue, recipient, start, s3, seed)


def test_whatever_s3_does_each_message_is_delivered_whole_or_rejected_for_what_it_is_in_short(
    virtual_queue: str, recipient: Recipient, start: Start, s3: FaultyS3
) -> None:
    troubles(virtual_queue, recipient, start, s3, 1000)


def troubles(virtual_queue: str, recipient: Recipient, start: Start, s3: FaultyS3, seed: int) -> None:
    draw = random.Random(seed)
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    whole: dict[str, bytes] = {}
    bad: Counter[str] = Counter()
    for n in range(80):
        kind = draw.choice(["body", "body", "gone", "elsewhere", "garbled", "large", "plain"])
        content = os.urandom(draw.choice([0, 100, 70_000, 1_500_000]))
        if kind == "body":
            s3.objects[f"k{n}"] = kept(content)
            whole[send_pointer(queue, f"k{n}")] = content
        elif kind == "plain":
            whole[queue.send([f"plain {n}"])[0]] = f"plain {n}".encode()
        elif kind == "elsewhere":
            send_pointer(queue, f"k{n}", draw.choice(["archive2", "Archive", "archive/x", "169.254.169.254"]))
            bad["bucket not allowed"] += 1
        elif kind == "garbled":
            send_pointer(queue, draw.choice(["", "..", "a/../b", "x" * 1025]))
            bad["pointer not readable"] += 1
        elif kind == "large":
            s3.objects[f"k{n}"] = kept(bytes(2_000_001))
            send_pointer(queue, f"k{n}")
            bad["body too large"] += 1
        else:
            send_pointer(queue, f"gone{n}")
            bad["object not found"] += 1
    # In a row they would open the breaker, which hides messages for longer than a test lasts.
    faults = iter(lambda: draw.choice([FAIL, THROTTLE, CUT, TEAR, LOSE]), None)
    turn = itertools.count()
    s3.choose = lambda *_: next(faults) if next(turn) % 3 == 2 else PASS
    options = ("--failure-queue", failures.name, "--reject-share", "0", "--fetch-max-bytes", "2000000")
    pace = ("--backoff-base", "0.1", "--backoff-cap", "1", "--fetch-delete", "yes")
    courier = start(queue, *fetching(s3, *options, *pace), "--concurrency", str(draw.choice([1, 4, 16])))
    until(lambda: is_settled(queue), 100.0, courier.log)
    assert courier.drain() == 0
    assert {each.message_id: each.body for each in recipient.deliveries} == whole
    reasons: Counter[str] = Counter()
    while answer := failures.sqs.receive_message(
        QueueUrl=failures.url, MessageAttributeNames=["All"], MaxNumberOfMessages=10
    ).get("Messages"):
        for each in answer:
            reasons[json.loads(each["MessageAttributes"]["CourierFailure"]["StringValue"])["reason"]] += 1
    assert reasons == bad
    assert {path.split("?")[0].split("/")[1] for _, path in s3.seen} == {"archive"}


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_kills_lose_no_message_and_no_object_of_one_that_was_not_delivered(
    queue: Queue, recipient: Recipient, tmp_path: Path, s3: FaultyS3, seed: int
) -> None:
    kills(queue, recipient, tmp_path, s3, seed)


@pytest.mark.parametrize("seed", [1000])
def test_kills_lose_no_message_and_no_object_of_one_that_was_not_delivered_in_short(
    queue: Queue, recipient: Recipient, tmp_path: Path, s3: FaultyS3, seed: int
) -> None:
    kills(queue, recipient, tmp_path, s3, seed)


def kills(queue: Queue, recipient: Recipient, tmp_path: Path, s3: FaultyS3, seed: int) -> None:
    draw = random.Random(seed)
    contents = {f"k{n}": os.urandom(draw.choice([10, 50_000, 2_000_000])) for n in range(120)}
    s3.objects.update({key: kept(content) for key, content in contents.items()})
    ids = {send_pointer(queue, key): key for key in contents}
    lost: list[str] = []
    options = fetching(s3, "--fetch-delete", "yes", "--visibility-timeout", "3", "--senders", "2")
    courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint)
    try:
        courier.wait_ready()
        deadline = time.monotonic() + 90.0
        while not is_settled(queue) and time.monotonic() < deadline:
            time.sleep(draw.uniform(0.1, 0.6))
            accepted = {ids[name] for name in recipient.accepted}
            lost += [key for key in contents.keys() - s3.contents().keys() if key not in accepted]
            if len(recipient.accepted) < 100:
                role = draw.choice(["sender", "sender", "auditor"])
                if pids := courier.pids(role):
                    os.kill(draw.choice(pids), signal.SIGKILL)
        assert is_settled(queue), courier.log()
        assert courier.drain() == 0
    finally:
        courier.kill()
    assert not lost
    got = {ids[each.message_id]: each.body for each in recipient.deliveries if each.message_id in recipient.accepted}
    assert got.keys() == contents.keys()
    assert all(hashlib.sha256(body).digest() == hashlib.sha256(contents[key]).digest() for key, body in got.items())
    left = len(s3.contents())
    print(f"objects left after the kills: {left} of {len(contents)}; duplicates: {len(recipient.duplicates())}")
