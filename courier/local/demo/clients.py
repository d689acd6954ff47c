"""The demo's clients of its own virtual queue and recipient."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from courier.http.answer import Failure
from courier.http.head import HeadTemplate
from courier.http.session import Session, SessionLimits
from courier.http.url_parsing import read_url
from courier.local.demo.programs import DemoFailed
from courier.local.records import RandomRecord

_LIMITS: Final = SessionLimits(answer_cap=256 * 1024 * 1024)
_QUEUE: Final = "demo"


class RequestCounts(NamedTuple):
    """The recipient's counts: requests, different messages, and seconds from the first request to the last."""

    requests: int
    distinct: int
    seconds: float


class QueueClient:
    """A queue of the virtual SQS. It accepts any signature, so this client needs no AWS library."""

    def __init__(self, url: str) -> None:
        server = read_url(url)
        fields = (("Content-Type", "application/x-amz-json-1.0"), ("Authorization", "unsigned"))
        self._session = Session(asyncio.get_running_loop(), server, _LIMITS)
        self._template = HeadTemplate("POST", server, fields)
        self.url = ""

    async def create(self) -> None:
        """Create the queue."""
        self.url = (await self._call("CreateQueue", {"QueueName": _QUEUE}))["QueueUrl"]

    async def send(self, records: Sequence[RandomRecord]) -> list[str]:
        """Send up to 10 records. Return the message ids."""
        entries = [{"Id": str(n), "MessageBody": record.body.decode()} for n, record in enumerate(records)]
        answer = await self._call("SendMessageBatch", {"QueueUrl": self.url, "Entries": entries})
        if answer.get("Failed"):
            raise DemoFailed(f"the virtual queue refused messages: {answer['Failed'][0].get('Message')}")
        return [entry["MessageId"] for entry in answer["Successful"]]

    async def left(self) -> int:
        """Return how many messages the queue still has, including hidden ones."""
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


class RecipientClient:
    """A client that asks the recipient for what it received."""

    def __init__(self, url: str) -> None:
        self._session = Session(asyncio.get_running_loop(), read_url(url), _LIMITS)
        self._counts = HeadTemplate("GET", read_url(f"{url}/counts")).render(0)
        self._ids = HeadTemplate("GET", read_url(f"{url}/ids")).render(0)

    async def counts(self) -> RequestCounts:
        """Return the counts of requests and messages."""
        return RequestCounts(**_object("the recipient's counts", await self._session.request(self._counts, b"")))

    async def ids(self) -> set[str]:
        """Return the ids of the messages that came."""
        return set(_object("the recipient's ids", await self._session.request(self._ids, b"")))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _object(what: str, result: Any) -> Any:
    if isinstance(result, Failure):
        raise DemoFailed(f"{what} failed: {result.reason} {result.detail}")
    if result.status != 200:
        raise DemoFailed(f"{what} failed: HTTP {result.status} {result.body[:200].decode(errors='replace')}")
    return orjson.loads(result.body)
