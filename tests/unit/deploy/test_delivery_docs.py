"""docs/delivery.md: every option, metric and file that it names is there, and its numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from courier.config.config import OPTIONS
from courier.http.answer import Answer
from courier.http.limits import SessionLimits
from courier.lease import MAX_HIDDEN_SECONDS
from courier.message import MOST_MESSAGE_BYTES, Message, unpack_letter
from courier.recipient.fault_share import SHARE, WINDOW_SECONDS
from courier.recipient.kept_messages import HOLD_SECONDS, kept_seconds
from courier.recipient.policy import DEFAULT_REJECT, DEFAULT_RETRY, DEFAULT_SUCCESS, Rejected
from courier.recipient.probes import LONGEST_FRESH_SECONDS, LOST_PROBE_SECONDS
from courier.recipient.refusals import MINIMUM, is_clearly_beyond
from courier.request.head_budget import DEFAULT_HEAD_BYTES, LEAST_HEAD_BYTES, MOST_HEAD_BYTES, OMITTED, list_bytes
from courier.sender.failures import PROBES_EACH
from courier.sender.kept import PROBES_KEPT
from courier.sender.rejection import ANSWER_CHARACTERS, ATTRIBUTE, MOST_ATTRIBUTES, FailureQueue

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "delivery.md").read_text()


def section(title: str) -> str:
    return " ".join(PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0].split())


def test_every_option_exists() -> None:
    flags = set(re.findall(r"`(--[a-z][a-z-]+)", PAGE))
    assert flags <= {option.flag for option in OPTIONS.values()} | {"--config"}


@pytest.mark.parametrize("prefix", ["backoff", "breaker", "reject", "max", "retry", "rate", "failure", "success"])
def test_every_option_of_what_comes_after_an_answer_is_explained(prefix: str) -> None:
    flags = {option.flag for option in OPTIONS.values() if option.flag.startswith(f"--{prefix}")}
    assert flags
    assert [flag for flag in flags if f"`{flag}`" not in PAGE] == []


def test_every_metric_exists() -> None:
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    assert [name for name in re.findall(r"`(courier_[a-z_]+)`", PAGE) if f"`{name}" not in metrics] == []


def test_every_link_within_the_page_leads_to_a_section() -> None:
    titles = {
        re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= titles


def test_the_lists_are_the_defaults() -> None:
    for flag, default in (("success", DEFAULT_SUCCESS), ("retry", DEFAULT_RETRY), ("reject", DEFAULT_REJECT)):
        assert f"| `--{flag}` | `{default}` |" in PAGE


def test_the_numbers_are_those_of_the_code() -> None:
    assert LOST_PROBE_SECONDS == 5
    assert "again after 5 seconds" in section("The circuit breaker")
    assert HOLD_SECONDS == 60
    assert "After a minute Courier returns" in section("The circuit breaker")
    assert LONGEST_FRESH_SECONDS == 120
    assert "up to two minutes" in section("The circuit breaker")
    assert kept_seconds(1) == 15 * 60
    assert "15 minutes at its first receive" in section("When it comes again")
    assert (SHARE, WINDOW_SECONDS) == (0.2, 60.0)
    assert "more than a fifth of the messages within a minute" in section("When it comes again")
    assert f"at least {MINIMUM}," in section("The circuit breaker")
    for share, row in ((0.5, MINIMUM), (0.8, 64)):
        assert is_clearly_beyond(row, row, share)
        assert not is_clearly_beyond(row - 1, row - 1, share)
        assert f"{row} in a row" in PAGE or f"{row} with {share}" in PAGE
    assert PROBES_EACH == 3
    assert PROBES_KEPT == 8
    assert "all but eight messages" in section("The circuit breaker")
    assert f"first {ANSWER_CHARACTERS} characters" in section("The failure queue")
    assert f"{MOST_ATTRIBUTES} attributes and {MOST_MESSAGE_BYTES // 1024**2} MiB" in section("The failure queue")
    assert f"**{MAX_HIDDEN_SECONDS // 3600} hours**" in section("Holding on to a message")
    assert SessionLimits().answer_cap == 64 * 1024
    assert f"{DEFAULT_HEAD_BYTES:,} bytes unless" in section("The request")
    assert f"`{OMITTED}" in PAGE or f"\n{OMITTED}: " in PAGE
    assert f"up to {list_bytes(MOST_HEAD_BYTES)} bytes (an eighth" in section("The request")
    assert list_bytes(LEAST_HEAD_BYTES) == LEAST_HEAD_BYTES // 8


def test_the_attribute_on_a_rejected_message_has_the_fields_of_the_example() -> None:
    (example,) = re.findall(r"^```json\n(.*?)\n```", PAGE, re.M | re.S)
    shown = orjson.loads(example)
    message = Message("m", "r", 60.0, 0.0, 1, 0, 0, "", "", "", (), b"{}")
    answer = Answer(shown["status"], [], shown["answer"].encode(), False, True, 0.0, 0.1)
    queue = FailureQueue(shown["source_queue"])
    packed = queue.letter(message, queue.rejection(Rejected(shown["reason"], 422), answer), 422, 1.0)
    (attribute,) = unpack_letter(packed).attributes
    assert attribute.name == ATTRIBUTE
    made = orjson.loads(attribute.value)
    assert list(made) == list(shown)
    assert {made[name] == shown[name] for name in ("reason", "status", "source_queue", "answer")} == {True}
