"""docs/delivery.md: every option, metric and file that it names is there, and its numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from courier.config import OPTIONS
from courier.endpoint import LOST_PROBE_SECONDS, SPIKE_MINIMUM, WORTH_RELEASING_SECONDS
from courier.failure import ANSWER_BYTES, ATTRIBUTE, MOST_ATTRIBUTES, MOST_BYTES, FailureQueue
from courier.http.answer import Answer
from courier.http.limits import Limits
from courier.message import Message, unpack_letter
from courier.policy import DEFAULT_REJECT, DEFAULT_RETRY, DEFAULT_SUCCESS, MAX_HIDDEN_SECONDS, Rejected

ROOT = Path(__file__).parents[2]
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
    assert "asked for again after 5 seconds" in section("The circuit breaker")
    assert WORTH_RELEASING_SECONDS == 1
    assert "more than a second" in section("When it comes again")
    assert f"at least {SPIKE_MINIMUM}," in section("The failure queue")
    assert f"first {ANSWER_BYTES} bytes" in section("The failure queue")
    assert f"{MOST_ATTRIBUTES} attributes and {MOST_BYTES // 1024**2} MiB" in section("The failure queue")
    assert f"**{MAX_HIDDEN_SECONDS // 3600} hours**" in section("Holding on to a message")
    assert Limits().answer_cap == 64 * 1024


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
