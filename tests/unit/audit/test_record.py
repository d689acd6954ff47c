from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.firehose_batch import firehose_recorder
from courier.audit.record import Recorder, Rejection, record_line, recorder, rfc3339
from courier.message import Message

MESSAGE = Message(
    message_id="id-1",
    receipt="receipt-1",
    lease=100.0,
    received_at=70.0,
    receive_count=2,
    sent_ms=1_795_523_500_123,
    first_received_ms=1_795_523_500_456,
    sender_id="AIDA",
    group="",
    trace="",
    attributes=(),
    body=b'{"a": 1}',
)


def test_a_record_has_what_an_operator_asks_for() -> None:
    line = record_line(MESSAGE, "delivered", 200, 0.0123456, 1_795_523_501.25)
    assert orjson.loads(line) == {
        "time": "2026-11-24T12:31:41.250Z",
        "message_id": "id-1",
        "receive_count": 2,
        "outcome": "delivered",
        "status": 200,
        "duration_ms": 12.346,
        "sent_at": "2026-11-24T12:31:40.123Z",
        "body": '{"a": 1}',
    }


def test_a_record_names_the_group_where_there_is_one() -> None:
    assert orjson.loads(record_line(MESSAGE._replace(group="g"), "delivered", 200, 0, 0))["group"] == "g"


@pytest.mark.parametrize("body", ["full", "sha256", "none"])
@pytest.mark.parametrize("form", [recorder, firehose_recorder])
def test_the_record_of_a_rejected_message_tells_why_and_whence_it_came(
    form: Callable[[str, str], Recorder], body: str
) -> None:
    why = Rejection("status 422", "orders", "no such account")
    for message in (MESSAGE, MESSAGE._replace(body=b"\xff"), MESSAGE._replace(body=b"x" * 1024**2)):
        told = orjson.loads(form("json", body)(message, "rejected: status 422", 422, 0.01, 1.0, why))
        assert told.items() >= {**why._asdict(), "status": 422, "time": "1970-01-01T00:00:01.000Z"}.items()
        assert why._asdict().keys().isdisjoint(orjson.loads(form("json", body)(message, "delivered", 200, 0.01, 1.0)))
    assert form("text", body)(MESSAGE, "rejected: status 422", 422, 0.01, 1.0, why).startswith(b"id-1")


def test_a_record_without_an_answer_has_no_status() -> None:
    assert orjson.loads(record_line(MESSAGE, "rejected", None, 0, 0))["status"] is None


@given(st.text(), st.text())
def test_any_text_body_is_one_line_that_reads_back_the_same(body: str, group: str) -> None:
    line = record_line(MESSAGE._replace(body=body.encode(), group=group), "delivered", 200, 0.001, 1.0)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert orjson.loads(line)["body"] == body


durations = st.one_of(
    st.floats(0.0, 2000.0),
    # Around the middle between two microseconds, where rounding is hardest.
    st.builds(lambda n, off: (n + 0.5) * 1e-6 + off, st.integers(0, 10**10), st.floats(-1e-9, 1e-9)).map(abs),
    st.builds(lambda n: n * 0.5e-6, st.integers(0, 10**10)),
)


@given(
    message_id=st.text(),
    count=st.integers(0, 2**63 - 1),
    outcome=st.text(),
    status=st.none() | st.integers(100, 999),
    duration=durations,
    at=st.floats(0.0, 4e9),
    sent_ms=st.integers(0, 4 * 10**12),
    group=st.sampled_from(["", "g", 'ä"\\\n']),
    body=st.binary() | st.text().map(str.encode),
)
def test_a_record_is_what_orjson_makes_of_its_fields(
    message_id: str,
    count: int,
    outcome: str,
    status: int | None,
    duration: float,
    at: float,
    sent_ms: int,
    group: str,
    body: bytes,
) -> None:
    message = MESSAGE._replace(message_id=message_id, receive_count=count, sent_ms=sent_ms, group=group, body=body)
    fields: dict[str, object] = {
        "time": rfc3339(int(at * 1000.0)),
        "message_id": message_id,
        "receive_count": count,
        "outcome": outcome,
        "status": status,
        "duration_ms": round(duration * 1000.0, 3),
        "sent_at": rfc3339(sent_ms),
    }
    if group:
        fields["group"] = group
    try:
        fields["body"] = body.decode()
    except UnicodeDecodeError:
        fields["body_base64"] = base64.b64encode(body).decode()
    assert record_line(message, outcome, status, duration, at) == orjson.dumps(fields) + b"\n"


@given(st.binary())
def test_any_bytes_at_all_make_one_line(body: bytes) -> None:
    line = record_line(MESSAGE._replace(body=body), "delivered", 200, 0.001, 1.0)
    assert line.count(b"\n") == 1
    assert orjson.loads(line)["message_id"] == "id-1"


@pytest.mark.parametrize(
    ("unix_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (7, "1970-01-01T00:00:00.007Z"),
        (1_795_523_499_999, "2026-11-24T12:31:39.999Z"),
        (1_795_523_500_000, "2026-11-24T12:31:40.000Z"),
    ],
)
def test_times_are_rfc_3339_in_utc_with_milliseconds(unix_ms: int, text: str) -> None:
    assert rfc3339(unix_ms) == text


@pytest.mark.parametrize(
    ("form", "body", "expected"),
    [
        ("text", "full", b"id-1 line one\\nline two\n"),
        ("text", "sha256", b"id-1 sha256:" + hashlib.sha256(b"line one\nline two").hexdigest().encode() + b"\n"),
        ("text", "none", b"id-1\n"),
    ],
)
def test_text_rows_are_one_line_each(form: str, body: str, expected: bytes) -> None:
    message = Message("id-1", "r", 1.0, 0.0, 1, 0, 0, "", "", "", (), b"line one\nline two")
    assert recorder(form, body)(message, "delivered", 200, 0.1, 0.0) == expected


def test_a_json_record_keeps_what_it_is_told_to_of_the_body() -> None:
    message = Message("id-1", "r", 1.0, 0.0, 1, 0, 0, "", "", "", (), b"secret")
    full, digest, none = (
        orjson.loads(recorder("json", body)(message, "delivered", 200, 0.1, 0.0)) for body in ("full", "sha256", "none")
    )
    assert full["body"] == "secret"
    assert digest["body_sha256"] == hashlib.sha256(b"secret").hexdigest()
    assert digest["body_length"] == 6
    assert not {"body", "body_sha256", "body_length"} & none.keys()
    assert "body" not in digest
