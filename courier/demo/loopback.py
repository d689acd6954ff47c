"""What the demo asks its own programs over loopback: the virtual queue and the receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from courier.demo.programs import DemoFailed
from courier.demo.records import RandomRecord
from courier.http.answer import Failure
from courier.http.head import HeadTemplate
from courier.http.session import Limits, Session
from courier.http.target import parse_target

_LIMITS: Final = Limits(answer_cap=256 * 1024 * 1024)
_QUEUE: Final = "demo"


class Counts(NamedTuple):
    """What came to the receiver: requests, different messages, seconds from the first to the last."""

    requests: int
    distinct: int
    seconds: float


class Queue:
    """A queue of the virtual SQS, which asks for a signature but takes any, so that no AWS library is needed here."""

    def __init__(self, url: str) -> None:
        target = parse_target(url)
        fields = (("Content-Type", "application/x-amz-json-1.0"), ("Authorization", "unsigned"))
        self._session = Session(asyncio.get_running_loop(), target, _LIMITS)
        self._template = HeadTemplate("POST", target, fields)
        self.url = ""

    async def create(self) -> None:
        """Make the queue."""
        self.url = (await self._call("CreateQueue", {"QueueName": _QUEUE}))["QueueUrl"]

    async def send(self, records: Sequence[RandomRecord]) -> list[str]:
        """Send up to 10 records; returns the message ids."""
        entries = [{"Id": str(n), "MessageBody": record.body.decode()} for n, record in enumerate(records)]
        answer = await self._call("SendMessageBatch", {"QueueUrl": self.url, "Entries": entries})
        if answer.get("Failed"):
            raise DemoFailed(f"the virtual queue refused messages: {answer['Failed'][0].get('Message')}")
        return [entry["MessageId"] for entry in answer["Successful"]]

    async def left(self) -> int:
        """Return how many messages the queue still has, hidden ones included."""
        answer = await self._call("GetQueueAttributes", {"QueueUrl": self.url, "AttributeNames": ["All"]})
        names = ("", "NotVisible", "Delayed")
        return sum(int(answer["Attributes"][f"ApproximateNumberOfMessages{name}"]) for name in names)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    async def _call(self, action: str, fields: dict[str, Any]) -> dict[str, Any]:
        body = orjson.dumps(fields)
        head = self._template.render(len(body), [(b"X-Amz-Target", b"AmazonSQS." + action.encode())])
        fields = _object(f"{action} of the virtual queue", await self._session.request(head, body))
        assert isinstance(fields, dict)
        return fields


class ReceiverClient:
    """Asks the receiver what came."""

    def __init__(self, url: str) -> None:
        self._session = Session(asyncio.get_running_loop(), parse_target(url), _LIMITS)
        self._counts = HeadTemplate("GET", parse_target(f"{url}/counts")).render(0)
        self._ids = HeadTemplate("GET", parse_target(f"{url}/ids")).render(0)

    async def counts(self) -> Counts:
        """Ask how much came."""
        return Counts(**_object("the receiver's counts", await self._session.request(self._counts, b"")))

    async def ids(self) -> set[str]:
        """Ask which messages came."""
        return set(_object("the receiver's ids", await self._session.request(self._ids, b"")))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _object(what: str, result: Any) -> Any:
    if isinstance(result, Failure):
        raise DemoFailed(f"{what} failed: {result.reason} {result.detail}")
    if result.status != 200:
        raise DemoFailed(f"{what} failed: HTTP {result.status} {result.body[:200].decode(errors='replace')}")
    return orjson.loads(result.body)
