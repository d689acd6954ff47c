"""The step that decodes: which codings it undoes, what it refuses, and what it leaves to a thread."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import random
import zlib
from collections.abc import Sequence

import pytest

from courier.body.decode import INLINE_BYTES, Decode
from courier.http.answer import Failure
from courier.http.file_body import FileBody
from courier.http.spool import Spool
from courier.message import Attribute, Message
from courier.recipient.content import NO_ROOM, TOO_LARGE, UNDECODABLE
from courier.request.content import Content
from tests.unit.body.messages import with_body
from tests.waiting import until

MIB = 1 << 20


async def decoded(message: Message, codings: Sequence[str] = (), most_bytes: int = 16 * MIB) -> tuple[object, bool]:
    """Return what becomes of a message, and whether the step had to wait for it."""
    results: list[object] = []
    step = Decode(asyncio.get_running_loop(), codings, "Content-Encoding", most_bytes)
    made = step(Content(message), results.append)
    if isinstance(made, Content | Failure):
        return made, False
    await until(lambda: results)
    return results[0], True


def whole(content: Content) -> bytes:
    """Return the body that is sent, and close its file."""
    if content.file is None:
        return content.message.body
    assert content.message.body == b""
    with contextlib.closing(content.file):
        return b"".join(content.file.pieces())


async def body_of(message: Message, *codings: str) -> bytes:
    made, _ = await decoded(message, codings)
    assert isinstance(made, Content), made
    return made.message.body


async def failure_of(message: Message, *codings: str) -> Failure:
    made, _ = await decoded(message, codings)
    assert isinstance(made, Failure), made
    return made


async def test_the_codings_that_a_message_names_are_undone_the_last_one_first() -> None:
    text = base64.b64encode(gzip.compress(b"order")).decode()
    for named in ("gzip", "GZIP , base64", "x-gzip,identity", "gzip,base64,"):
        assert await body_of(with_body(text, Content_Encoding=named)) == b"order"
    assert (await failure_of(with_body(text, Content_Encoding="base64,gzip"))).reason == UNDECODABLE


async def test_a_message_that_names_no_coding_stays_as_it_is() -> None:
    for message in (with_body("plain"), with_body("plain", Content_Encoding="identity"), with_body("", a="gzip")):
        made, _ = await decoded(message)
        assert made == Content(message)


async def test_a_coding_that_was_undone_is_named_no_more() -> None:
    message = with_body(base64.b64encode(gzip.compress(b"x")).decode(), Content_Encoding="gzip", tenant="acme")
    for codings in ((), ("gzip",)):
        made, _ = await decoded(message, codings)
        assert isinstance(made, Content)
        assert made.message.attributes == (Attribute("tenant", "String", "acme"),)


async def test_codings_of_the_operator_are_undone_in_their_order() -> None:
    text = base64.b64encode(gzip.compress(b"order")).decode()
    assert await body_of(with_body(text), "base64", "gzip") == b"order"
    assert (await failure_of(with_body("plain"), "base64", "gzip")).reason == UNDECODABLE


@pytest.mark.parametrize("named", ["br", "gzip;q=1", "gzip " * 3, "gzip," * 5, "\u0130"])
async def test_a_coding_that_nobody_can_undo_is_refused(named: str) -> None:
    failure = await failure_of(with_body("x", Content_Encoding=named))
    assert failure.reason == UNDECODABLE
    assert "Content-Encoding" in failure.detail


async def test_what_takes_long_is_left_to_a_thread() -> None:
    small = gzip.compress(b"x")
    large = gzip.compress(bytes(3 * MIB), 1)
    assert len(large) > INLINE_BYTES / 2
    for body, waits in ((small, False), (large, True), (gzip.compress(b"x" * 1000, 0) * 40, True)):
        made, waited = await decoded(with_body(body, Content_Encoding="gzip"))
        assert isinstance(made, Content)
        assert waited == waits
        assert gzip.decompress(body) == whole(made)


async def test_a_body_in_a_file_is_decoded_into_a_file() -> None:
    packed = gzip.compress(random.Random(7).randbytes(3 * MIB), 1)
    spool = Spool()
    spool.write(packed)
    results: list[object] = []
    step = Decode(asyncio.get_running_loop(), ["gzip"], "Content-Encoding", 4 * MIB)
    file = spool.body()
    assert isinstance(file, FileBody)
    step(Content(with_body(""), file=file), results.append)
    await until(lambda: results)
    (made,) = results
    assert isinstance(made, Content), made
    assert made.file is not None
    assert whole(made) == gzip.decompress(packed)


async def test_a_body_that_finds_no_room_on_the_disk_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/nowhere")
    failure = await failure_of(with_body(gzip.compress(bytes(3 * MIB)), Content_Encoding="gzip"))
    assert failure.reason == NO_ROOM


async def test_a_bomb_is_too_large_whether_small_or_large() -> None:
    for packed in (gzip.compress(bytes(2 * MIB)), zlib.compress(bytes(100 * MIB), wbits=31)):
        for cap in (1024, 300_000, MIB):
            made, _ = await decoded(with_body(packed, Content_Encoding="gzip"), (), cap)
            assert isinstance(made, Failure)
            assert made.reason == TOO_LARGE
            assert str(cap) in made.detail


async def test_a_step_that_was_given_up_passes_nothing_on() -> None:
    results: list[object] = []
    step = Decode(asyncio.get_running_loop(), (), "Content-Encoding", MIB)
    made = step(Content(with_body(gzip.compress(bytes(500_000)), Content_Encoding="gzip")), results.append)
    assert not isinstance(made, Content | Failure | Exception)
    made.cancel()
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    await asyncio.sleep(0.1)
    assert results == []
