"""A queue of a trial as its suite sees it: it is filled, counted and emptied here, past the gate."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from scripts.faults.events import Sent, digest
from scripts.faults.sqs_calls import CallRefused, SqsCalls
from scripts.faults.workload import MOST_BYTES, Message, size_of

PER_CALL: Final = 10
SEND_SECONDS: Final = 20.0
"""How long an entry that the server refuses for no fault of ours is sent again."""

HIDDEN_SECONDS: Final = 600
"""How long a message is hidden while it is taken out for good."""

SLACK_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.05
COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)
_numbers = itertools.count(1)


class State(NamedTuple):
    """The numbers of messages of a queue.

    A message that waits behind a locked group of a FIFO queue counts as visible, as in SQS, though nobody can receive
    it.
    """

    visible: int
    delayed: int
    in_flight: int

    @property
    def total(self) -> int:
        """All messages that aren't deleted."""
        return sum(self)


class FaultQueue:
    """A new queue on a server, with a dead-letter queue if there is a limit of ``receives``.

    ``visibility_seconds`` is its visibility timeout. ``url`` is at ``server_url``: some servers name another host. Any
    thread may call its methods; they raise CallRefused, and OSError or HTTPException if the server doesn't answer.
    """

    def __init__(
        self, server_url: str, *, fifo: bool = False, visibility_seconds: int = 30, receives: int | None = None
    ) -> None:
        stem = f"faults-{uuid.uuid4().hex[:8]}-{next(_numbers)}"
        self.name: Final = f"{stem}.fifo" if fifo else stem
        self.fifo: Final = fifo
        self.visibility_seconds: Final = visibility_seconds
        self.dead: Final = (
            FaultQueue(server_url, fifo=fifo, visibility_seconds=visibility_seconds) if receives is not None else None
        )
        self._sqs = SqsCalls(server_url)
        attributes = {"VisibilityTimeout": str(visibility_seconds), "MaximumMessageSize": str(MOST_BYTES)}
        if fifo:
            attributes["FifoQueue"] = "true"
        if self.dead is not None:
            policy = {"deadLetterTargetArn": self.dead._arn(), "maxReceiveCount": receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        created = self._sqs.call("CreateQueue", QueueName=self.name, Attributes=attributes)
        self.url: Final = server_url.rstrip("/") + urlsplit(created["QueueUrl"]).path

    def send(self, messages: Iterable[Message]) -> list[Sent]:
        """Send messages, ten to a call where they fit, and return them in the order in which the server accepted them.

        ``at`` is the time before the call, so that no delivery is earlier. An entry that the server failed is sent
        again, and is later in the order then.
        """
        return [sent for batch in batches(messages) for sent in self._send(batch)]

    def state(self) -> State:
        """Count the messages."""
        attributes = self._attributes(COUNTS)
        return State(*(int(attributes[name]) for name in COUNTS))

    def left(self, seconds: float | None = None) -> dict[str, bytes]:
        """Take out all that is left after a trial, and return the digest of each body by message id.

        It waits until messages in flight come back, by default for the visibility timeout and ten seconds; give it the
        longest delay that the program may have asked for. The redrive policy ends with it: these receives move nothing
        to the dead-letter queue. Raises TimeoutError if messages are still in flight then.
        """
        deadline = time.monotonic() + (self.visibility_seconds + SLACK_SECONDS if seconds is None else seconds)
        if self.dead is not None:
            self._call("SetQueueAttributes", Attributes={"RedrivePolicy": ""})
        found: dict[str, bytes] = {}
        while True:
            taken = self._take()
            found.update(taken)
            if taken:
                continue
            state = self.state()
            if not state.total:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"queue {self.name} still has {state}; left() waits for as long as it is told")
            time.sleep(LOOK_SECONDS)

    def _send(self, batch: list[Message]) -> Iterator[Sent]:
        deadline = time.monotonic() + SEND_SECONDS
        # The ids stay the same when an entry is sent again.
        waiting = [(message, uuid.uuid4().hex) for message in batch]
        while waiting:
            at = time.monotonic()
            answer = self._call("SendMessageBatch", Entries=[self._entry(n, *each) for n, each in enumerate(waiting)])
            accepted = {int(entry["Id"]): entry for entry in answer.get("Successful") or ()}
            for n in sorted(accepted):
                yield _sent(at, waiting[n][0], accepted[n])
            failed = answer.get("Failed") or ()
            if any(entry.get("SenderFault") for entry in failed) or (failed and at > deadline):
                raise CallRefused(f"SendMessageBatch: {json.dumps(failed)[:500]}")
            waiting = [each for n, each in enumerate(waiting) if n not in accepted]
            if waiting:
                time.sleep(LOOK_SECONDS)

    def _entry(self, number: int, message: Message, deduplication_id: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"Id": str(number), "MessageBody": message.body}
        if message.attributes:
            entry["MessageAttributes"] = {
                name: {"DataType": kind, "BinaryValue" if kind.startswith("Binary") else "StringValue": value}
                for name, (kind, value) in message.attributes.items()
            }
        if self.fifo:
            entry |= {"MessageGroupId": message.group, "MessageDeduplicationId": deduplication_id}
        return entry

    def _take(self) -> dict[str, bytes]:
        """Receive up to ten messages and delete them."""
        answer = self._call("ReceiveMessage", MaxNumberOfMessages=PER_CALL, VisibilityTimeout=HIDDEN_SECONDS)
        messages = answer.get("Messages") or ()
        if not messages:
            return {}
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        failed = self._call("DeleteMessageBatch", Entries=entries).get("Failed")
        if failed:
            raise CallRefused(f"DeleteMessageBatch: {json.dumps(failed)[:500]}")
        return {each["MessageId"]: digest(each["Body"].encode()) for each in messages}

    def _arn(self) -> str:
        return self._attributes(("QueueArn",))["QueueArn"]

    def _attributes(self, names: Iterable[str]) -> dict[str, str]:
        attributes: dict[str, str] = self._call("GetQueueAttributes", AttributeNames=[*names])["Attributes"]
        return attributes

    def _call(self, action: str, **parameters: Any) -> dict[str, Any]:
        return self._sqs.call(action, QueueUrl=self.url, **parameters)


def batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield messages in batches that SQS takes in one call: up to ten, of 1 MiB in all."""
    batch: list[Message] = []
    room = MOST_BYTES
    for message in messages:
        size = size_of(message)
        if batch and (len(batch) == PER_CALL or size > room):
            yield batch
            batch, room = [], MOST_BYTES
        batch.append(message)
        room -= size
    if batch:
        yield batch


def _sent(at: float, message: Message, accepted: dict[str, Any]) -> Sent:
    body = message.body.encode()
    if accepted["MD5OfMessageBody"] != hashlib.md5(body, usedforsecurity=False).hexdigest():
        raise CallRefused(f"SendMessageBatch: the server took another body for {accepted['MessageId']}")
    return Sent(at, accepted["MessageId"], message.group, digest(body))
