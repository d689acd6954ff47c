"""What a record says of what was sent: nothing where it is what came, and the path that the message chose."""

from __future__ import annotations

import hashlib
import json

import pytest

from courier.audit.record import SENT_BYTES, recorder
from courier.message import Message
from courier.request.content import Content
from courier.request.paths import LONGEST_PATH
from courier.sender.sent import record_with_sent
from courier.sender.slots import HeldPacket

MESSAGE = Message("m1", "r", 9e9, 0.0, 1, 0, 0, "", "", "", (), b"body")
RECORD = recorder("json", "full")(MESSAGE, "delivered", 200, 0.1, 1.0)


class Deliverer:
    """Has nothing to do."""

    def conclude(self, packet: HeldPacket, answer: object) -> None: ...

    def drop_lapsed(self, packet: HeldPacket) -> None: ...

    def break_off(self, packet: HeldPacket) -> None: ...

    def next_message(self, packet: HeldPacket) -> None: ...

    def post_later(self, packet: HeldPacket, seconds: float) -> None: ...


def record_of(content: Content | None) -> bytes:
    packet = HeldPacket([MESSAGE], Deliverer())
    packet.content = content
    return record_with_sent(RECORD, packet)


def digest(body: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (None, None),
        (Content(MESSAGE), None),
        (Content(MESSAGE._replace(body=b"")), digest(b"")),
        (Content(MESSAGE, path=b"/jobs/caf%C3%A9"), {"path": "/jobs/caf%C3%A9"}),
        (Content(MESSAGE._replace(body=b""), path=b"/jobs"), {**digest(b""), "path": "/jobs"}),
    ],
    ids=["nothing", "the same", "a body", "a path", "both"],
)
def test_a_record_says_what_was_sent_and_where_to(content: Content | None, sent: object) -> None:
    found = record_of(content)
    assert json.loads(found) == {**json.loads(RECORD), **({"sent": sent} if sent else {})}
    assert found.endswith(b"}\n")
    assert found.count(b"\n") == 1


def test_it_adds_no_more_than_what_a_record_of_firehose_leaves_free() -> None:
    content = Content(MESSAGE._replace(body=b"x" * 10**8), path=b"/" + b"p" * (LONGEST_PATH - 1))
    assert len(record_of(content)) - len(RECORD) <= SENT_BYTES + LONGEST_PATH
