"""A fuzz of what messages hold, through the whole program: no worker dies, and each is delivered or rejected."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from courier.audit.reader import read_records
from courier.local.exchange import Request, Response
from tests.process.conftest import Start
from tests.process.contents import PADDING, Contents, batches, mutate
from tests.process.faulty_sqs import FaultySqs
from tests.process.strict_recipient import MOST_HEAD_BYTES, StrictRecipient
from tests.process.world import ROLES, Courier, Queue, missing, until

HEADERS = ("--header", "X-Tenant: {attribute.tenant}", "--header", "X-All: {group} {sender_id} {trace} {receipt}")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Setting(NamedTuple):
    """A kind of queue, and options."""

    fifo: bool
    id_header: str
    options: tuple[str, ...]


SETTINGS = {
    "standard": Setting(False, "x-aws-sqsd-msgid", ("--receipt-header", "X-Receipt", *HEADERS)),
    "bare fifo over requests": Setting(
        True,
        "courier-message-id",
        (
            *("--headers", "courier", "--attribute-headers", "bare", "--transport", "requests"),
            *("--content-type-attribute", "type", "--concurrency", "8", *HEADERS),
        ),
    ),
}


@pytest.fixture
def recipients() -> Iterator[list[StrictRecipient]]:
    """Those that a test starts, to be stopped after it."""
    running: list[StrictRecipient] = []
    yield running
    for recipient in running:
        recipient.stop()


def send(queue: Queue, contents: Contents, count: int) -> dict[str, str]:
    """Send so many messages; gives the MD5 of each body by message id."""
    sent: dict[str, str] = {}
    for batch in batches([contents.entry() for _ in range(count)]):
        answer = queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=batch)
        assert not answer.get("Failed"), answer["Failed"]
        bodies = {entry["Id"]: entry["MessageBody"] for entry in batch}
        for entry in answer["Successful"]:
            sent[entry["MessageId"]] = hashlib.md5(bodies[entry["Id"]].encode()).hexdigest()
    return sent


def letters(queue: Queue) -> list[dict[str, Any]]:
    """Receive all that is in the failure queue."""
    found: list[dict[str, Any]] = []
    while True:
        answer = queue.sqs.receive_message(
            QueueUrl=queue.url, MaxNumberOfMessages=10, VisibilityTimeout=600, MessageAttributeNames=["All"]
        )
        if not answer.get("Messages"):
            return found
        found += answer["Messages"]
        if queue.name.endswith(".fifo"):
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(answer["Messages"])]
            queue.sqs.delete_message_batch(QueueUrl=queue.url, Entries=entries)


def workers(courier: Courier) -> list[int]:
    return [pid for role in ROLES for pid in courier.pids(role)]


def nothing_went_wrong(courier: Courier, recipient: StrictRecipient, before: list[int]) -> None:
    assert workers(courier) == before, courier.log()
    assert recipient.faults == []
    assert recipient.longest_head <= MOST_HEAD_BYTES - 2
    for trouble in ("worker failed", "circuit breaker open", "receiving stops", "a bug in Courier", "Traceback"):
        assert trouble not in courier.log(), courier.log()


def fuzz(
    setting: Setting,
    count: int,
    seed: int,
    endpoint: str,
    start: Start,
    recipients: list[StrictRecipient],
    seconds: float,
) -> None:
    recipient = StrictRecipient(setting.id_header)
    recipients.append(recipient)
    queue, failures = Queue(endpoint, fifo=setting.fifo), Queue(endpoint, fifo=setting.fifo)
    courier = start(
        queue,
        *("--failure-queue", failures.name, "--senders", "2", "--consumers", "1", *setting.options),
        COURIER_RECIPIENT_URL=recipient.url,
        COURIER_WEBHOOK_SECRET=SECRET,
    )
    before = workers(courier)
    sent = send(queue, Contents(seed, fifo=setting.fifo), count)
    until(lambda: queue.counts() == (0, 0), seconds, lambda: (queue.counts(), recipient.faults, courier.log()))
    nothing_went_wrong(courier, recipient, before)
    assert courier.drain() == 0
    refused = set(recipient.refused)
    assert missing(sent, set(recipient.taken) | refused) == set()
    assert not refused & set(recipient.taken)
    assert {name: recipient.digests[name] for name in sent} == sent
    assert recipient.omitted > count / 50
    records = list(read_records(courier.audit))
    assert Counter(record.message_id for record in records) == Counter(list(sent))
    assert {record.message_id: hashlib.md5(record.body).hexdigest() for record in records} == sent
    assert {record.message_id for record in records if record.outcome == "rejected: status 422"} == refused
    found = letters(failures)
    assert sorted(m["MD5OfBody"] for m in found) == sorted(sent[name] for name in refused)
    for letter in found:
        if reason := letter.get("MessageAttributes", {}).get("CourierFailure"):
            assert json.loads(reason["StringValue"])["status"] == 422


@pytest.mark.parametrize("name", SETTINGS)
def test_whatever_a_message_holds_it_is_delivered_or_rejected_and_harms_no_other(
    name: str, virtual_queue: str, start: Start, recipients: list[StrictRecipient]
) -> None:
    fuzz(SETTINGS[name], 500, 1, virtual_queue, start, recipients, 60.0)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("seed", [2, 3])
def test_ten_thousand_messages_whatever_they_hold(
    name: str, seed: int, virtual_queue: str, start: Start, recipients: list[StrictRecipient]
) -> None:
    fuzz(SETTINGS[name], 2500, seed, virtual_queue, start, recipients, 600.0)


class HostileSqs(FaultySqs):
    """It hands out what SQS never would, and knows its receipts again however long it made them."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self.mutated = 0
        super().__init__()

    def _answer(self, request: Request) -> Any:
        if PADDING.encode() in request.body:
            request = request._replace(body=re.sub(rb"!{100,}", b"", request.body))
        return super()._answer(request)

    def _given(self, answer: Response) -> Response:
        answer = super()._given(answer)
        body = mutate(answer.body, self._draw)
        self.mutated += body != answer.body
        return answer._replace(body=body)


@pytest.fixture
def hostile_sqs() -> Iterator[HostileSqs]:
    """A queue server that means harm."""
    sqs = HostileSqs(seed=1)
    yield sqs
    sqs.stop()


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_what_sqs_would_never_send_harms_only_itself(
    fifo: bool, hostile_sqs: HostileSqs, start: Start, recipients: list[StrictRecipient], tmp_path: Path
) -> None:
    recipient = StrictRecipient(refuses=False)
    recipients.append(recipient)
    queue = Queue(hostile_sqs.endpoint, fifo=fifo)
    # What is corrupt lapses, and is sound the second time.
    options = ("--visibility-timeout", "2", "--senders", "2", "--consumers", "1", "--concurrency", "8")
    courier = start(queue, *options, COURIER_RECIPIENT_URL=recipient.url)
    before = workers(courier)
    groups = [f"g{n % 40}" for n in range(200)] if fifo else None
    sent = queue.send([f"body {n}" for n in range(200)], groups)
    until(lambda: queue.counts() == (0, 0), 60.0, lambda: (queue.counts(), recipient.faults, courier.log()[-3000:]))
    nothing_went_wrong(courier, recipient, before)
    assert courier.drain() == 0
    assert missing(sent, recipient.taken) == set()
    assert missing(sent, courier.recorded()) == set()
    assert hostile_sqs.mutated > 20
    assert "corrupt messages" in courier.log()
