"""The step that fetches bodies from S3, against a server that fails as it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from courier.fetch import fetching as module
from courier.fetch.breaker import THRESHOLD
from courier.fetch.fetching import Fetching, FetchSettings
from courier.fetch.pointer import CLASSES, BucketPrefix
from courier.fetch.s3_client import S3Settings
from courier.http.answer import Failure
from courier.http.file_body import FileBody
from courier.http.spool import MEMORY_BYTES
from courier.message import Attribute
from courier.recipient.content import (
    BAD_POINTER,
    BUCKET,
    NO_OBJECT,
    NO_ROOM,
    NO_ROOM_SECONDS,
    NOT_FETCHED,
    S3_DENIES,
    S3_FAILS,
    TOO_LARGE,
    UNSENDABLE,
)
from courier.request.content import Content, Made, Pointer
from tests.faulty_s3 import DENY, FAULTS, PASS, STALL, TEAR, TRICKLE, FaultyS3, kept
from tests.unit.stage import message

pytestmark = pytest.mark.usefixtures("s3_keys")

PATIENCE = 60.0


class Counts:
    def __init__(self) -> None:
        self.objects: list[int] = []
        self.failures = 0
        self.open = 0

    def open_breakers(self, count: int) -> None:
        self.open = count

    def fetched(self, size: int) -> None:
        self.objects.append(size)

    def failed(self) -> None:
        self.failures += 1


@pytest.fixture
def counts() -> Counts:
    return Counts()


Fetch = Callable[..., asyncio.Future[Made]]


@pytest.fixture
def fetch(s3: FaultyS3, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetch]:
    """Return what fetches the body of a message from the server, and waits for it."""
    monkeypatch.setattr("courier.fetch.s3_client.ATTEMPTS", 1)
    monkeypatch.setattr("courier.fetch.s3_client.READ_SECONDS", 5.0)
    s3.released.clear()
    steps: dict[object, Fetching] = {}

    def run(body: bytes, *, most: int = 10_000_000, timeout: float = 30.0) -> asyncio.Future[Made]:
        loop = asyncio.get_running_loop()
        step = steps.setdefault(
            (most, timeout),
            Fetching(
                loop,
                FetchSettings(
                    (BucketPrefix("archive"), BucketPrefix("gone")),
                    most,
                    timeout,
                    S3Settings("eu-west-1", s3.url, 4),
                    True,
                ),
                counts,
            ),
        )
        future: asyncio.Future[Made] = loop.create_future()
        attributes = (Attribute("ExtendedPayloadSize", "Number", "7"), Attribute("kind", "String", "x"))
        content = Content(message("a", body=body)._replace(attributes=attributes), b"X-Kept: yes\r\n")
        made = step(content, future.set_result)
        if isinstance(made, (Content, Failure)):
            future.set_result(made)
        return future

    yield run
    s3.released.set()


def pointing(key: str, bucket: str = "archive") -> bytes:
    return json.dumps([CLASSES[0], {"s3BucketName": bucket, "s3Key": key}]).encode()


async def failure(fetching: asyncio.Future[Made]) -> Failure:
    made = await asyncio.wait_for(fetching, PATIENCE)
    assert isinstance(made, Failure), made
    assert made.reason in UNSENDABLE or made.reason in NOT_FETCHED
    return made


@pytest.mark.parametrize("size", [0, 1, 300_000, MEMORY_BYTES, MEMORY_BYTES + 1, 5_000_000])
async def test_the_real_body_takes_the_place_of_the_pointer(
    s3: FaultyS3, fetch: Fetch, counts: Counts, size: int
) -> None:
    whole = os.urandom(size)
    s3.objects["a b/é+%2e"] = kept(whole)
    made = await asyncio.wait_for(fetch(pointing("a b/é+%2e")), PATIENCE)
    assert isinstance(made, Content)
    assert made.message.attributes == (Attribute("kind", "String", "x"),)
    assert (made.headers, made.pointer) == (b"X-Kept: yes\r\n", Pointer("archive", "a b/é+%2e"))
    assert isinstance(made.body, FileBody) == (size > MEMORY_BYTES)
    assert (b"".join(made.body.pieces()) if isinstance(made.body, FileBody) else made.body) == whole
    assert (counts.objects, counts.failures) == ([size], 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no pointer", BAD_POINTER),
        (pointing("k", "other"), BUCKET),
        (pointing("../gone/k"), BAD_POINTER),
        (pointing("missing"), NO_OBJECT),
        (pointing("large"), TOO_LARGE),
    ],
)
async def test_what_the_message_causes_is_refused_for_good(
    s3: FaultyS3, fetch: Fetch, counts: Counts, body: bytes, reason: str
) -> None:
    s3.objects["large"] = kept(bytes(1001))
    for _ in range(2 * THRESHOLD):
        assert (await failure(fetch(body, most=1000))).reason == reason
    # None of them says anything about S3.
    assert counts.failures == 0
    s3.objects["k"] = kept(b"ok")
    assert isinstance(await fetch(pointing("k"), most=1000), Content)
    asked = {path for _, path in s3.seen}
    assert all(path.startswith("/archive/") for path in asked)


@pytest.mark.parametrize("fault", [*FAULTS, TEAR])
async def test_a_failure_of_s3_is_tried_again_later_and_opens_the_breaker_of_its_bucket_alone(
    s3: FaultyS3, fetch: Fetch, counts: Counts, fault: str
) -> None:
    s3.objects["k"] = kept(bytes(100_000))
    s3.choose = lambda *_: fault
    first = await failure(fetch(pointing("k")))
    assert first.reason == (S3_DENIES if fault in (DENY, "skew") else S3_FAILS)
    assert not first.again_in
    for _ in range(THRESHOLD):
        assert (await failure(fetch(pointing("k")))).reason == first.reason
    asked = len(s3.seen)
    last = await failure(fetch(pointing("k")))
    assert last.again_in >= 30.0
    assert (last.reason, len(s3.seen), counts.open) == (first.reason, asked, 1)
    s3.choose = lambda *_: PASS
    assert (await failure(fetch(pointing("k", "gone")))).reason == S3_FAILS
    assert len(s3.seen) == asked + 1
    deadline = time.monotonic() + PATIENCE
    while isinstance(await fetch(pointing("k")), Failure):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert isinstance(await fetch(pointing("k")), Content)
    assert counts.open == 0


@pytest.mark.parametrize("fault", [STALL, TRICKLE])
async def test_an_object_that_takes_too_long_is_given_up_and_its_thread_with_it(
    s3: FaultyS3, fetch: Fetch, fault: str
) -> None:
    s3.objects["k"] = kept(bytes(100_000))
    s3.choose = lambda *_: fault
    late = await failure(fetch(pointing("k"), timeout=0.3))
    assert late.reason == S3_FAILS
    assert "--fetch-timeout" in late.detail
    s3.released.set()
    s3.choose = lambda *_: PASS
    assert isinstance(await asyncio.wait_for(fetch(pointing("k")), PATIENCE), Content)


async def test_many_fetches_that_stall_are_given_up_together_and_one_alone_is_not(
    s3: FaultyS3, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr("courier.fetch.s3_client.READ_SECONDS", 60.0)
    s3.objects["k"] = kept(b"x")
    s3.choose = lambda *_: STALL
    one = fetch(pointing("k"))
    await asyncio.sleep(2.5)
    assert not one.done()
    # Four threads, and more messages than those.
    others = [fetch(pointing("k")) for _ in range(12)]
    for each in (one, *others):
        failed = await failure(each)
        assert failed.reason == S3_FAILS
    assert "got no byte" in (await failure(one)).detail
    assert len(s3.seen) <= 8


async def test_a_full_disk_hides_the_message_for_a_while(
    s3: FaultyS3, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> int:
        raise OSError(28, "No space left on device")

    s3.objects["k"] = kept(bytes(2 * MEMORY_BYTES))
    monkeypatch.setattr("courier.http.spool.nameless_file", full)
    none = await failure(fetch(pointing("k")))
    assert none.reason == NO_ROOM
    assert none.again_in >= NO_ROOM_SECONDS


async def test_a_fetch_that_was_given_up_leaves_nothing(s3: FaultyS3, counts: Counts) -> None:
    s3.released.clear()
    s3.objects["k"] = kept(bytes(100_000))
    asked = threading.Event()

    def choose(*_: str) -> str:
        asked.set()
        return STALL

    s3.choose = choose
    loop = asyncio.get_running_loop()
    settings = FetchSettings((BucketPrefix("archive"),), 1_000_000, 30.0, S3Settings("eu-west-1", s3.url, 1))
    step = Fetching(loop, settings, counts)
    results: list[Made] = []
    pending = step(Content(message("a", body=pointing("k"))), results.append)
    assert not isinstance(pending, (Content, Failure, Exception))
    await asyncio.to_thread(asked.wait, PATIENCE)
    pending.cancel()
    s3.choose = lambda *_: PASS
    s3.released.set()
    future: asyncio.Future[Made] = loop.create_future()
    step(Content(message("b", body=pointing("k"))), future.set_result)
    assert isinstance(await asyncio.wait_for(future, PATIENCE), Content)
    assert (results, counts.failures) == ([], 0)
