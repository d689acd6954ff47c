"""A Firehose on loopback that decides on each call, and knows what it stored and what was answered.

It keeps Firehose's limits and speaks its JSON protocol, so that boto3 is the client. It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

import orjson

from courier.local.exchange import Request, Response
from courier.local.server import Server, serve
from scripts.faults.loop_thread import LoopThread

MOST_RECORDS: Final = 500
MOST_CALL_BYTES: Final = 4 * 1024 * 1024
MOST_RECORD_BYTES: Final = 1000 * 1024

SLOW_DOWN: Final = "ServiceUnavailableException"
"""The code for a lack of capacity, of a call or of a record."""

INTERNAL: Final = "InternalFailure"
THROTTLED: Final = "ThrottlingException"

BEFORE: Final = "before"
AFTER: Final = "after"

CLOSE_SECONDS: Final = 0.05
"""Seconds that answers under way get when the server stops."""

_CONTENT_TYPE: Final = ("Content-Type", "application/x-amz-json-1.1")


class Fate(NamedTuple):
    """What becomes of a call of PutRecordBatch.

    ``error`` is a code to refuse all of it with; ``refuse`` holds the positions of records that aren't stored; ``cut``
    drops the connection BEFORE or AFTER storing; ``delay`` is waited, in seconds, before the answer and after storing.
    """

    error: str = ""
    refuse: Collection[int] = ()
    cut: str = ""
    delay: float = 0.0


GOOD: Final = Fate()


class Call(NamedTuple):
    """A call of PutRecordBatch; ``number`` counts them from 0, ``access_key`` is the one that it was signed with."""

    number: int
    records: list[bytes]
    access_key: str


Behaviour = Callable[[Call], Fate]


def at_random(
    seed: int, *, refuse: float = 0.0, throttle: float = 0.0, cut_before: float = 0.0, cut_after: float = 0.0
) -> Behaviour:
    """Fail by chance: shares of records that are refused, and of calls that are throttled or cut."""
    chance = random.Random(seed)

    def fate(call: Call) -> Fate:
        refused = [n for n in range(len(call.records)) if chance.random() < refuse]
        draw = chance.random()
        if draw < throttle:
            return Fate(error=SLOW_DOWN)
        if draw < throttle + cut_before:
            return Fate(cut=BEFORE)
        if draw < throttle + cut_before + cut_after:
            return Fate(refuse=refused, cut=AFTER)
        return Fate(refuse=refused)

    return fate


class Firehose:
    """One stream, ``name``; ``behave`` decides on each call, ``status`` and ``source`` are told of the stream.

    ``denied`` holds actions that a policy doesn't allow, ``unknown_keys`` access keys that nobody knows. ``stored`` are
    the records in the order in which they were stored, ``unanswered`` those that were stored in calls that got no
    answer. ``on_store`` is called with each record before it is answered.
    """

    def __init__(self, name: str = "audit", *, keeps_records: bool = True) -> None:
        """Without ``keeps_records``, what was stored is known to ``on_store`` alone, and long trials need no memory."""
        self.name = name
        self.status = "ACTIVE"
        self.source = "DirectPut"
        self.behave: Behaviour = lambda call: GOOD
        self.denied: set[str] = set()
        self.unknown_keys: set[str] = set()
        self.stored: list[bytes] = []
        self.unanswered: Counter[bytes] = Counter()
        self.calls: list[Call] = []
        self.under_way = 0
        self.most_under_way = 0
        self.on_store: Callable[[bytes], None] = lambda record: None
        self._keeps_records = keeps_records
        self._numbers = itertools.count()
        self._thread = LoopThread("firehose")
        self._server: Server | None = self._thread.call(serve(self.handle))
        self.url = self._server.url

    def stop(self) -> None:
        """End it for good; harmless if it has ended."""
        server, self._server = self._server, None
        if server is not None:
            self._thread.call(_close(server))
            self._thread.stop()

    def repeated(self) -> dict[bytes, int]:
        """Return the records that were stored more than once, with their counts."""
        return {record: count for record, count in Counter(self.stored).items() if count > 1}

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        action = request.headers["x-amz-target"].removeprefix("Firehose_20150804.")
        access_key = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        asked = orjson.loads(request.body)
        if access_key in self.unknown_keys:
            return _error("UnrecognizedClientException", "The security token included in the request is invalid.")
        if action in self.denied:
            return _error("AccessDeniedException", f"User x is not authorized to perform: firehose:{action}")
        if asked["DeliveryStreamName"] != self.name:
            return _error("ResourceNotFoundException", f"Firehose {asked['DeliveryStreamName']} not found.")
        if action == "DescribeDeliveryStream":
            return _answer({"DeliveryStreamDescription": self._description()})
        assert action == "PutRecordBatch"
        records = [b64decode(record["Data"]) for record in asked["Records"]]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._put(Call(next(self._numbers), records, access_key))
        finally:
            self.under_way -= 1

    async def _put(self, call: Call) -> Response:
        if self._keeps_records:
            self.calls.append(call)
        if reason := beyond_limits(call.records):
            return _error("InvalidArgumentException", reason)
        fate = self.behave(call)
        if fate.error:
            return _error(fate.error, "Slow down." if fate.error in (SLOW_DOWN, THROTTLED) else "As told.")
        if fate.cut == BEFORE:
            _drop_connection()
        refused = set(fate.refuse)
        taken = [record for n, record in enumerate(call.records) if n not in refused]
        if self._keeps_records and (fate.cut == AFTER or fate.delay):
            # With a delay the client may be gone before the answer; if it isn't, this only allows too much.
            self.unanswered.update(taken)
        for record in taken:
            self.on_store(record)
        if self._keeps_records:
            self.stored += taken
        if fate.delay:
            await asyncio.sleep(fate.delay)
        if fate.cut == AFTER:
            _drop_connection()
        results = [_refused() if n in refused else {"RecordId": f"{call.number}-{n}"} for n in range(len(call.records))]
        return _answer({"FailedPutCount": len(refused), "Encrypted": False, "RequestResponses": results})

    def _description(self) -> dict[str, Any]:
        return {
            "DeliveryStreamName": self.name,
            "DeliveryStreamARN": f"arn:aws:firehose:us-east-1:000000000000:deliverystream/{self.name}",
            "DeliveryStreamStatus": self.status,
            "DeliveryStreamType": self.source,
            "VersionId": "1",
            "Destinations": [],
            "HasMoreDestinations": False,
        }


def beyond_limits(records: list[bytes]) -> str:
    """Return which of Firehose's limits a call breaks, if any."""
    if not 1 <= len(records) <= MOST_RECORDS:
        return f"{len(records)} records in a call"
    if any(len(record) > MOST_RECORD_BYTES for record in records):
        return "a record of more than 1,000 KiB"
    if sum(map(len, records)) > MOST_CALL_BYTES:
        return "Records size exceeds 4 MB limit"
    return ""


async def _close(server: Server) -> None:
    server.close()
    await server.wait_closed(CLOSE_SECONDS)


def _drop_connection() -> None:
    # The HTTP server takes a cancelled handler for a reason to abort the connection.
    raise asyncio.CancelledError


def _refused() -> dict[str, str]:
    return {"ErrorCode": SLOW_DOWN, "ErrorMessage": "Slow down."}


def _answer(content: dict[str, Any]) -> Response:
    return Response(200, [_CONTENT_TYPE], orjson.dumps(content))


def _error(code: str, words: str) -> Response:
    status = 500 if code in (SLOW_DOWN, INTERNAL) else 400
    return Response(status, [_CONTENT_TYPE], orjson.dumps({"__type": code, "message": words}))
