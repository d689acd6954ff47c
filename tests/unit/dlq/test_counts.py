"""The counts of dead letters: by each key, in bounded memory, as text and as JSON."""

from __future__ import annotations

import orjson
import pytest

from courier.dlq.counts import Counts
from courier.dlq.dead_letter import DeadLetter, dead_letter
from courier.message import Attribute
from courier.terminal.dead_letters import counts_as_json, counts_as_text, table_head, table_row
from tests.unit.dlq.letters import NOW, letter, message, why

ACME = (Attribute("tenant", "String", "acme"),)
LETTERS = [
    letter(b"12345", ACME, group="g"),
    dead_letter(message(b"1", (why(status=None, reason="timeout", time="2026-11-24T10:00:00Z"),), message_id="b-2")),
    dead_letter(message(b"1", message_id="b-3", sent_ms=0), "arn:aws:sqs:eu-west-1:1:plain"),
]


def counted(by: str, letters: list[DeadLetter] = LETTERS) -> Counts:
    counts = Counts(by)
    for each in letters:
        counts.add(each)
    return counts


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("reason", ["status 404", "timeout", "unknown"]),
        ("status", ["404", "none", "unknown"]),
        ("day", ["2026-11-24", "2026-11-25", "unknown"]),
        ("source", ["orders", "plain"]),
        ("group", ["none", "g"]),
        ("attribute.tenant", ["none", "acme"]),
    ],
)
def test_each_key_is_counted(by: str, keys: list[str]) -> None:
    counts = counted(by)
    assert [key for key, _, _ in counts.top(10)] == keys
    assert sum(group.messages for _, group, _ in counts.top(10)) == counts.total.messages == 3
    assert (counts.total.bytes, counts.total.oldest) == (7, "2026-11-24T10:00:00.000Z")


@pytest.mark.parametrize("by", ["", "state", "attribute.", "attribute", "Reason"])
def test_another_key_is_refused_with_what_would_be_right(by: str) -> None:
    with pytest.raises(ValueError, match="must be reason, status, day"):
        Counts(by)


def test_the_report_has_the_same_numbers_in_both_forms() -> None:
    counts = counted("source")
    report = orjson.loads(counts_as_json(counts))
    assert report["total"]["messages"] == 3
    assert [(row["source"], row["messages"]) for row in report["rows"]] == [("orders", 2), ("plain", 1)]
    head, *rows = counts_as_text(counts)
    assert head.split()[:2] == ["SOURCE", "MESSAGES"]
    assert [row.split()[:2] for row in rows] == [["orders", "2"], ["plain", "1"], ["total", "3"]]
    assert list(counts_as_text(Counts("day"))) == ["no messages"]


def test_a_million_keys_take_no_more_memory_and_what_is_cut_is_said() -> None:
    counts = counted("attribute.id", [])
    for number in range(20_000):
        counts.add(letter(b"x", (Attribute("id", "String", str(number)),)))
        counts.add(letter(b"x", (Attribute("id", "String", "often"),)))
    ((key, group, _), *_) = counts.top(1)
    assert (key, group.messages, counts.total.messages) == ("often", 20_000, 40_000)
    assert len(counts._groups.values()) <= 2000
    assert "most frequent" in list(counts_as_text(counts))[-1]


def test_a_hostile_key_controls_no_terminal() -> None:
    evil = letter(b"x", (Attribute("t", "String", "\x1b[2J\u202e\n"),), message_id="\x1b]0;x\x07")
    text = "\n".join(counts_as_text(counted("attribute.t", [evil])))
    assert text.replace("\n", "").isprintable()
    assert counts_as_json(counted("attribute.t", [evil])).isprintable()


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (200, "MESSAGE AGE RECEIVES STATUS REASON SOURCE GROUP ANSWER"),
        (143, "MESSAGE AGE RECEIVES STATUS REASON SOURCE GROUP ANSWER"),
        (142, "MESSAGE AGE RECEIVES STATUS REASON SOURCE ANSWER"),
        (120, "MESSAGE AGE RECEIVES STATUS REASON ANSWER"),
        (40, "MESSAGE AGE STATUS REASON ANSWER"),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_rows_stand_below_their_titles(width: int, titles: str) -> None:
    head = table_head(width, bodies=False)
    assert head.split() == titles.split()
    row = table_row(letter(group="g-1"), width, NOW, bodies=False)
    assert row.index("status 404") == head.index("REASON")
    assert row.index("no such order") == head.index("ANSWER")
    assert width < 100 or len(row) <= width
