"""Event lines: what they say, that they fit wherever a record fits, and that no reader takes one for a record."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.event import EVENTS, LAPSED, RETRY, event_recorder, is_event, lapsed_line, no_events
from courier.audit.firehose_batch import MOST_RECORD_BYTES
from courier.audit.reader import read_records
from courier.audit.record import recorder
from courier.message import Handle, Message
from tests.unit.stage import message

ROOT = Path(__file__).parents[3]
ANY_TEXT = st.text(st.characters(), max_size=3000)


def test_a_line_says_what_happened_to_which_message_when_and_where() -> None:
    about = message("m-1", group="g", receives=3)._replace(sent_ms=1_764_150_000_000)
    line = event_recorder("sender 3")(
        about, RETRY, "status 503", 1_764_150_001.5, status=503, duration=0.0123, attempt=4
    )
    assert line.endswith(b"\n")
    assert orjson.loads(line) == {
        "time": "2025-11-26T09:40:01.500Z",
        "message_id": "m-1",
        "receive_count": 3,
        "outcome": "retry",
        "status": 503,
        "duration_ms": 12.3,
        "sent_at": "2025-11-26T09:40:00.000Z",
        "group": "g",
        "reason": "status 503",
        "attempt": 4,
        "worker": "sender 3",
    }


def test_of_a_handle_it_says_what_is_known() -> None:
    fields = orjson.loads(event_recorder("auditor 0")(Handle("m-1", "r", 1.0, 0.0, ""), LAPSED, "late", 0.0))
    assert fields["receive_count"] == fields["attempt"] == 0
    assert not {"sent_at", "group"} & set(fields)


def test_a_lapse_keeps_what_the_late_outcome_knew() -> None:
    line = event_recorder("sender 1")(message("m-1", receives=2), RETRY, "status 500", 0.0, status=500, attempt=3)
    fields = orjson.loads(lapsed_line(line, "late", 1.0, "auditor 0"))
    assert (fields["outcome"], fields["reason"], fields["status"]) == (LAPSED, "late", None)
    assert (fields["receive_count"], fields["attempt"], fields["worker"]) == (2, 3, "auditor 0")
    assert fields["time"] == "1970-01-01T00:00:01.000Z"


@given(message_id=ANY_TEXT, group=ANY_TEXT, reason=ANY_TEXT)
def test_whatever_it_is_made_of_a_line_is_one_short_line_of_json(message_id: str, group: str, reason: str) -> None:
    about: Message = message("m")._replace(message_id=message_id, group=group)
    line = event_recorder("sender 1")(about, RETRY, reason, 1e9, attempt=1)
    assert line.index(b"\n") == len(line) - 1
    assert len(line) < MOST_RECORD_BYTES / 100
    assert orjson.loads(line)["outcome"] == RETRY


@pytest.mark.parametrize("outcome", ["delivered", "rejected: status 404", "rejected: status 500 at receive 5"])
def test_the_outcome_of_a_record_is_no_event(outcome: str) -> None:
    assert not is_event(outcome)
    assert is_event("rejected")


def test_readers_get_events_only_if_they_ask_for_them(tmp_path: Path) -> None:
    make, event = recorder("json", "full"), event_recorder("sender 0")
    lines = [event(message(outcome), outcome, "why", 0.0) for outcome in sorted(EVENTS)]
    record = make(message("m"), "delivered", 200, 0.1, 0.0)
    (tmp_path / "courier-000001-20261125T093000Z.jsonl").write_bytes(b"".join([lines[0], record, *lines[1:]]))
    assert [each.message_id for each in read_records(tmp_path)] == ["m"]
    assert {each.outcome for each in read_records(tmp_path, events=True)} == {*EVENTS, "delivered"}


def test_without_all_there_is_no_line() -> None:
    assert no_events(message("m"), RETRY, "why", 0.0, status=500, duration=1.0, attempt=2) == b""


def test_the_page_has_an_example_with_each_field_and_a_row_for_each_field_and_outcome() -> None:
    page = (ROOT / "docs/audit.md").read_text()
    section = page.partition("## Event lines")[2].partition("\n## ")[0]
    (example,) = re.findall(r"^```json\n(.*?)\n```", section, re.M | re.S)
    made = orjson.loads(event_recorder("sender 3")(message("m", group="g"), RETRY, "why", 0.0))
    assert {*orjson.loads(example)} | {"group"} == set(made)
    rows = set(re.findall(r"^\| `(\w+)` \|", section, re.M))
    assert rows == set(made) | EVENTS
