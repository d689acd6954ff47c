"""The removal of objects: one call for many, and what S3 refuses stays and is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from courier.fetch import removal as module
from courier.fetch.removal import Removal
from courier.fetch.s3_client import S3Settings
from courier.request.content import Pointer
from tests.faulty_s3 import DENY, FAIL, ODD, PASS, FaultyS3, kept

pytestmark = pytest.mark.usefixtures("s3_keys")

PATIENCE = 60.0


class Counted:
    def __init__(self) -> None:
        self.removed = self.left = 0

    def __call__(self, removed: int, left: int) -> None:
        self.removed += removed
        self.left += left


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def removal(s3: FaultyS3, counted: Counted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Removal]:
    monkeypatch.setattr("courier.fetch.s3_client.ATTEMPTS", 1)
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.05,))
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.05)
    made = Removal(S3Settings("eu-west-1", s3.url), counted)
    yield made
    made.close()


def becomes(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def add(removal: Removal, *keys: str, bucket: str = "archive") -> None:
    for key in keys:
        removal.add(Pointer(bucket, key).pack())


def test_many_objects_go_in_one_call_and_no_other_object_goes(s3: FaultyS3, removal: Removal, counted: Counted) -> None:
    keys = [f"bodies/{n} é&<>" for n in range(700)]
    s3.objects.update({key: kept(b"x") for key in [*keys, "bodies", "other"]})
    add(removal, *keys)
    becomes(lambda: removal.is_idle)
    assert (counted.removed, counted.left) == (700, 0)
    assert set(s3.contents()) == {"bodies", "other"}
    assert len(s3.seen) <= 3


@pytest.mark.parametrize("fault", [FAIL, DENY])
def test_what_s3_refuses_for_a_while_is_removed_later(
    s3: FaultyS3, removal: Removal, counted: Counted, fault: str
) -> None:
    s3.objects.update({"a": kept(b"x"), "b": kept(b"x")})
    s3.choose = lambda *_: fault
    add(removal, "a", "b")
    becomes(lambda: len(s3.seen) >= 3)
    assert removal.is_failing
    assert (counted.removed, counted.left, removal.is_idle) == (0, 0, False)
    s3.choose = lambda *_: PASS
    becomes(lambda: removal.is_idle)
    assert (counted.removed, counted.left, s3.contents()) == (2, 0, {})


def test_a_key_that_xml_cannot_hold_spoils_no_call(s3: FaultyS3, removal: Removal, counted: Counted) -> None:
    keys = ["a", "b\x01", "c\uffff", "d"]
    s3.objects.update({key: kept(b"x") for key in keys})
    add(removal, *keys, "already gone")
    becomes(lambda: removal.is_idle)
    assert (counted.removed, counted.left, s3.contents()) == (5, 0, {})


def test_an_object_that_may_not_be_removed_delays_no_other(s3: FaultyS3, removal: Removal, counted: Counted) -> None:
    s3.objects.update({"a": kept(b"x"), "held": kept(b"x"), "z": kept(b"x")})
    s3.locked.add("held")
    add(removal, "a", "held", "z")
    becomes(lambda: set(s3.contents()) == {"held"})
    assert counted.removed == 2


def test_what_still_waits_at_the_end_is_counted(s3: FaultyS3, removal: Removal, counted: Counted) -> None:
    s3.choose = lambda *_: FAIL
    add(removal, "a", "b", "c")
    becomes(lambda: bool(s3.seen))
    removal.leave(2)
    removal.close()
    becomes(lambda: counted.left == 5)
    add(removal, "d")
    assert (counted.removed, counted.left) == (0, 6)


def test_no_more_wait_than_memory_allows(
    s3: FaultyS3, removal: Removal, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    s3.choose = lambda *_: FAIL
    add(removal, *map(str, range(30)))
    assert counted.left >= 10


@pytest.mark.parametrize("fault", [FAIL, DENY])
def test_a_call_that_fails_ends_no_other_removal(s3: FaultyS3, removal: Removal, counted: Counted, fault: str) -> None:
    keys = ["a", "b", "c\x01", "d\x02"]
    s3.objects.update({key: kept(b"x") for key in keys})
    s3.choose = lambda *_: fault
    add(removal, *keys)
    becomes(lambda: len(s3.seen) >= 4)
    s3.choose = lambda *_: PASS
    becomes(lambda: removal.is_idle)
    assert (counted.removed, counted.left, s3.contents()) == (4, 0, {})


def test_objects_that_can_not_be_removed_by_their_own_fault_are_left_one_by_one(
    s3: FaultyS3, removal: Removal, counted: Counted
) -> None:
    keys = ["x" * 1100, "y" * 1100, "z"]
    s3.objects.update({key: kept(b"x") for key in keys})
    s3.choose = lambda method, path: ODD if method == "POST" or len(path) > 1000 else PASS
    add(removal, *keys)
    becomes(lambda: removal.is_idle)
    assert (counted.removed, counted.left) == (1, 2)


def test_a_bucket_that_denies_it_holds_up_no_other(s3: FaultyS3, removal: Removal, counted: Counted) -> None:
    s3.objects["a"] = kept(b"x")
    s3.choose = lambda _, path: DENY if path.startswith("/closed") else PASS
    add(removal, *map(str, range(1500)), bucket="closed")
    add(removal, "a")
    becomes(lambda: not s3.contents())
    assert counted.removed == 1
