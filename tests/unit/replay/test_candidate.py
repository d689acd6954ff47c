"""Records as messages to send again: what was delivered comes back whole, and what can't be sent says why."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.event import EVENTS, event_recorder
from courier.audit.found import parse
from courier.audit.record import Rejection, recorder
from courier.message import Message
from courier.replay.candidate import (
    DIGEST_ONLY,
    LIKE_A_DIGEST,
    NO_BODY,
    NO_GROUP,
    NO_ID,
    NO_TEXT,
    TOO_LARGE,
    Candidate,
    Unsendable,
    read_candidate,
)

IDS = st.text(st.characters(codec="ascii", exclude_categories=["C"], exclude_characters=" "), min_size=1, max_size=100)
BODIES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
LATEST_MS = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000)


def message(message_id: str = "m1", body: str = "b", group: str = "", sent_ms: int = 1_764_000_000_123) -> Message:
    return Message(message_id, "receipt", 0.0, 0.0, 3, sent_ms, sent_ms, "sender", group, "", (), body.encode())


def read(raw: bytes, form: str = ".jsonl") -> Candidate | Unsendable | None:
    fields = parse(form, raw)
    return None if fields is None else read_candidate(fields, form)


def reason_of(raw: bytes, form: str = ".jsonl") -> str:
    found = read(raw, form)
    assert isinstance(found, Unsendable)
    return found.reason


@given(IDS, BODIES, st.sampled_from(["", "g", "tenant/7"]), st.integers(0, LATEST_MS), st.booleans())
def test_a_json_record_comes_back_as_the_message_that_it_was(
    message_id: str, body: str, group: str, sent_ms: int, is_rejected: bool
) -> None:
    rejection = Rejection("status 422", "orders", "no") if is_rejected else None
    outcome = "rejected: status 422" if is_rejected else "delivered"
    raw = recorder("json", "full")(message(message_id, body, group, sent_ms), outcome, 200, 0.1, 1.0, rejection)
    assert read(raw) == Candidate(message_id, group, sent_ms, body, len(body.encode()))


@given(IDS, BODIES.filter(lambda body: not body.startswith("sha256:")))
def test_a_row_of_text_comes_back_with_its_id_and_its_body(message_id: str, body: str) -> None:
    raw = recorder("text", "full")(message(message_id, body), "delivered", 200, 0.1, 1.0)
    assert read(raw, ".txt") == Candidate(message_id, "", 0, body, len(body.encode()))


def test_a_record_without_its_body_is_refused_with_the_option_that_left_it_out() -> None:
    of = message()
    assert reason_of(recorder("json", "sha256")(of, "delivered", 200, 0.1, 1.0)) == DIGEST_ONLY
    assert reason_of(recorder("json", "none")(of, "delivered", 200, 0.1, 1.0)) == NO_BODY
    assert reason_of(recorder("text", "sha256")(of, "delivered", 200, 0.1, 1.0), ".txt") == LIKE_A_DIGEST
    assert reason_of(recorder("text", "none")(of, "delivered", 200, 0.1, 1.0), ".txt") == NO_BODY


def test_what_no_message_of_sqs_can_be_is_refused() -> None:
    assert reason_of(b'{"message_id":"m","outcome":"delivered","body_base64":"/w=="}\n') == NO_TEXT
    assert reason_of(b"m \xff\n", ".txt") == NO_TEXT
    assert reason_of(orjson.dumps({"message_id": "m", "outcome": "delivered", "body": "x" * 1_048_577})) == TOO_LARGE
    assert reason_of(orjson.dumps({"message_id": "m" * 129, "outcome": "delivered", "body": ""})) == NO_ID
    assert (
        reason_of(orjson.dumps({"message_id": "m", "outcome": "delivered", "body": "", "group": "g" * 129})) == NO_GROUP
    )


def test_no_event_line_is_a_candidate_whatever_its_outcome() -> None:
    for outcome in EVENTS:
        line = event_recorder("sender 0")(message(), outcome, "status 404", 1.0, status=404)
        fields = parse(".jsonl", line)
        assert fields is not None
        assert read_candidate(fields, ".jsonl") is None
        assert read_candidate(fields, ".jsonl", EVENTS) is None


def test_events_and_other_outcomes_are_no_candidates() -> None:
    for outcome in ("retry", "lapsed", "released", "duplicate", ""):
        assert read(b'{"message_id":"m","outcome":"%b","reason":"x"}\n' % outcome.encode()) is None


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["message_id", "outcome", "body", "body_base64", "group", "sent_at", "status", "time"]),
            inner,
            max_size=8,
        ),
        max_leaves=9,
    ).map(orjson.dumps),
    st.sampled_from([".jsonl", ".txt"]),
)
def test_no_line_raises(raw: bytes, form: str) -> None:
    found = read(raw + b"\n", form)
    assert found is None or isinstance(found, (Candidate, Unsendable))


def test_a_repeat_is_sent_again_as_the_repeat_that_it_was() -> None:
    for told, known in (("first", "first"), ("no id", ""), (7, "7"), ("x" * 200, "")):
        line = orjson.dumps({"message_id": "m", "outcome": "delivered", "body": "b", "redrive_of": told})
        candidate = read(line + b"\n")
        assert isinstance(candidate, Candidate)
        assert candidate.redrive_of == known
