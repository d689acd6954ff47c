"""Bodies through the whole program: hostile ones send nothing where it doesn't belong, and too many stop receiving."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courier.audit.reader import audit_files, read_records
from courier.local.exchange import Request, Response
from courier.recipient.content import UNSENDABLE
from tests.faulty_s3 import faulty_s3, kept
from tests.process.conftest import Start
from tests.process.contents import batches
from tests.process.hostile_bodies import ALLOWED_BUCKET, ALLOWED_PATH, GOOD_KEY, HostileBodies, canary
from tests.process.replaying import Replay
from tests.process.strict_recipient import StrictRecipient
from tests.process.test_contents import letters, nothing_went_wrong, recipients, workers
from tests.process.world import Queue, Recipient, missing, until
from tests.threaded_server import ThreadedServer
from tests.unit.body.messages import TOPIC, envelope
from tests.unit.body.signed import certificate, signed

__all__ = ["recipients"]

OPTIONS = [
    ("--attribute-headers", "bare"),
    ("--transport", "requests", "--attribute-headers", "none"),
    ("--headers", "cloudevents", "--attribute-headers", "bare", "--header", "X-Aws-Sqsd-Msgid: {message_id}"),
]
SECRET = b"what lies elsewhere"
CHAIN = ("--body", "unwrap,fetch,decode", "--body-max-bytes", "1MiB", "--fetch-bucket", ALLOWED_BUCKET)
PATHS = ("--path-attribute", "beanstalk.sqsd.path", "--path-allow", ALLOWED_PATH)


def send(queue: Queue, entries: list[dict[str, Any]]) -> dict[str, str]:
    """Send messages; gives the body of each by its id."""
    sent: dict[str, str] = {}
    for batch in batches(entries):
        answer = queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=batch)
        assert not answer.get("Failed"), answer["Failed"]
        bodies = {entry["Id"]: entry["MessageBody"] for entry in batch}
        sent |= {entry["MessageId"]: bodies[entry["Id"]] for entry in answer["Successful"]}
    return sent


def reasons(found: list[dict[str, Any]]) -> Counter[str]:
    """Count the letters by reason."""
    return Counter(json.loads(m["MessageAttributes"]["CourierFailure"]["StringValue"])["reason"] for m in found)


class Places(StrictRecipient):
    """A strict recipient that also notes the targets and the hosts of requests, and what in a body isn't its own."""

    def __init__(self) -> None:
        self.targets: Counter[str] = Counter()
        self.leaks: list[bytes] = []
        super().__init__(refuses=False)

    def note(self, target: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        self.targets[target.decode()] += 1
        if headers[b"host"] != self.url.split("/")[2].encode() or SECRET in body:
            self.leaks.append(body[:200])


def hostile(
    count: int, seed: int, endpoint: str, start: Start, recipients: list[StrictRecipient], options: tuple[str, ...]
) -> None:
    recipient = Places()
    recipients.append(recipient)
    queue, failures = Queue(endpoint), Queue(endpoint)
    with canary() as bird, faulty_s3() as s3:
        s3.objects |= {GOOD_KEY: kept(b"from s3"), "etc/passwd": kept(SECRET), "secrets/k": kept(SECRET)}
        draw = HostileBodies(seed, bird.url)
        courier = start(
            queue,
            *(*CHAIN, "--fetch-endpoint-url", s3.url, *PATHS, "--failure-queue", failures.name, *options),
            *("--reject-share", "0", "--senders", "2", "--consumers", "1"),
            COURIER_RECIPIENT_URL=recipient.url,
        )
        before = workers(courier)
        sent = send(queue, [draw.entry() for _ in range(count)])
        seconds = 60.0 + count / 10
        until(lambda: queue.counts() == (0, 0), seconds, lambda: (queue.counts(), recipient.faults, courier.log()))
        nothing_went_wrong(courier, recipient, before)
        assert courier.drain() == 0
        assert bird.seen == 0
        # A client may ask for an object again, but only for what the one bucket has.
        assert {path.split("?")[0].split("/")[1] for _, path in s3.seen} <= {ALLOWED_BUCKET}
    assert recipient.leaks == []
    assert all(target == "/in" or (target + "/").startswith(f"{ALLOWED_PATH}/") for target in recipient.targets)
    assert not [target for target in recipient.targets if ".." in target or "//" in target or "%2" in target.lower()]
    found = letters(failures)
    rejected = reasons(found)
    assert set(rejected) <= set(UNSENDABLE)
    assert len(rejected) >= 6, rejected
    assert len(recipient.taken) + len(found) == count
    assert set(recipient.taken.values()) == {1}
    # Failure queue and audit log have what came.
    records = {record.message_id: record for record in read_records(courier.audit)}
    assert {name: record.body.decode() for name, record in records.items()} == sent
    left = Counter(sent[name] for name in sent if name not in recipient.taken)
    assert Counter(m["Body"] for m in found) == left


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_hostile_bodies_send_nothing_where_it_does_not_belong(
    options: tuple[str, ...], virtual_queue: str, start: Start, recipients: list[StrictRecipient]
) -> None:
    hostile(500, 1, virtual_queue, start, recipients, options)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_ten_thousand_hostile_bodies_send_nothing_where_it_does_not_belong(
    virtual_queue: str, start: Start, recipients: list[StrictRecipient]
) -> None:
    hostile(10_000, 2, virtual_queue, start, recipients, ("--attribute-headers", "bare"))


@pytest.fixture
def sns_host() -> Iterator[tuple[ThreadedServer, list[Request]]]:
    """SNS's host, which has one certificate, and what it was asked for."""
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        is_there = request.target.endswith(f"{'a' * 32}.pem")
        return Response(200, (), certificate()) if is_there else Response(404)

    server = ThreadedServer(answer)
    yield server, asked
    server.stop()


def verifying(url: str, failures: Queue) -> tuple[str, ...]:
    return (
        *("--body", "unwrap", "--sns-verify", "yes", "--sns-topic", TOPIC, "--sns-endpoint-url", url),
        *("--failure-queue", failures.name, "--reject-share", "0", "--senders", "2"),
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl signs as SNS does")
def test_only_what_sns_signed_is_delivered_among_forgeries_and_the_host_is_asked_once_a_sender(
    queue: Queue,
    virtual_queue: str,
    recipient: Recipient,
    start: Start,
    sns_host: tuple[ThreadedServer, list[Request]],
) -> None:
    failures = Queue(virtual_queue)
    server, asked = sns_host
    with canary() as bird:
        courier = start(queue, *verifying(server.url, failures))
        real = [json.dumps(signed(f"order {n}", "12"[n % 2])) for n in range(20)]
        good = queue.send(real)
        forgeries = [json.dumps({**json.loads(body), "Message": "forged"}) for body in real]
        draw = HostileBodies(3, bird.url)
        bad = queue.send([*forgeries, *(draw.entry()["MessageBody"] for _ in range(200))])
        until(lambda: queue.counts() == (0, 0), 60.0, courier.log)
        assert courier.drain() == 0
        assert bird.seen == 0
    assert {delivery.body.decode() for delivery in recipient.deliveries} == {f"order {n}" for n in range(20)}
    assert set(recipient.accepted) == set(good)
    assert len(letters(failures)) == len(bad)
    assert 1 <= len([each for each in asked if "a" * 32 in each.target]) <= 2
    assert {each.method for each in asked} == {"GET"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl signs as SNS does")
def test_a_certificate_that_can_not_be_fetched_costs_time_and_no_message(
    queue: Queue,
    virtual_queue: str,
    recipient: Recipient,
    start: Start,
    sns_host: tuple[ThreadedServer, list[Request]],
) -> None:
    failures = Queue(virtual_queue)
    server, _ = sns_host
    server.go_away()
    courier = start(queue, *verifying(server.url, failures), "--backoff-base", "1", "--backoff-cap", "1")
    (sent,) = queue.send([json.dumps(signed("late"))])
    until(lambda: "cannot fetch a certificate of SNS" in courier.log(), explain=courier.log)
    assert recipient.deliveries == []
    server.come_back()
    until(lambda: recipient.accepted[sent] == 1, 60.0, courier.log)
    assert courier.drain() == 0
    assert "circuit breaker" not in courier.log()
    assert letters(failures) == []


def test_too_many_messages_that_can_not_be_sent_stop_receiving_until_the_options_suit_them(
    queue: Queue, virtual_queue: str, recipient: Recipient, start: Start, tmp_path: Path
) -> None:
    failures = Queue(virtual_queue)
    file = tmp_path / "courier.toml"
    file.write_text('body = "decode"\ndecode = "gzip"')
    options = ("--failure-queue", failures.name, "--reject-share", "0.5", "--breaker-cool-down", "0.5")
    courier = start(queue, "--config", str(file), *options)
    sent = queue.send([f"plain {n}" for n in range(300)])
    until(lambda: "too many messages can't be sent" in courier.log(), explain=courier.log)
    assert 'reason="body not decodable"' in courier.log()
    assert "the recipient refuses" not in courier.log()
    file.write_text('body = "decode"')
    courier.signal(signal.SIGHUP)
    until(lambda: queue.counts() == (0, 0), 60.0, courier.log)
    assert courier.drain() == 0
    lost = letters(failures)
    assert len(lost) < 100, "receiving didn't stop"
    assert len(recipient.accepted) + len(lost) == len(sent)
    assert missing(sent, recipient.accepted) == set(courier.recorded()) - set(recipient.accepted)


def test_a_replay_of_what_came_sends_again_what_went(
    queue: Queue, recipient: Recipient, start: Start, tmp_path: Path
) -> None:
    options = ("--body", "unwrap,decode", "--decode", "gzip")
    courier = start(queue, *options)
    inner = base64.b64encode(gzip.compress(b"order")).decode()
    (sent,) = queue.send([json.dumps(envelope(inner))])
    until(lambda: recipient.accepted[sent] == 1, explain=courier.log)
    assert courier.drain() == 0
    replay = Replay(courier.audit, recipient.url, tmp_path / "replay", *options)
    assert replay.wait() == 0, replay.output
    assert [delivery.body for delivery in recipient.deliveries] == [b"order", b"order"]
    assert recipient.accepted[sent] == 2


def test_a_record_has_what_came_and_the_digest_of_what_went(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--body", "unwrap", "--senders", "1")
    wrapped, raw = json.dumps(envelope("inner")), "raw"
    queue.send([wrapped, raw])
    until(lambda: len(recipient.accepted) == 2, explain=courier.log)
    assert courier.drain() == 0
    assert {delivery.body for delivery in recipient.deliveries} == {b"inner", b"raw"}
    lines = [json.loads(line) for path in audit_files(courier.audit) for line in path.read_bytes().splitlines()]
    found = {line["body"]: line.get("sent") for line in lines}
    assert found == {wrapped: {"sha256": hashlib.sha256(b"inner").hexdigest(), "bytes": 5}, raw: None}
