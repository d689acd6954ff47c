"""The options of the form of a request: what fits together, and what is refused with what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from courier.config.config import Config
from courier.config.consequences import options_without_effect
from courier.config.formats import TASK_PATH
from courier.config.reloading import RELOADABLE
from courier.config.units import PATH_PREFIX
from courier.errors import CannotStart, ConfigError
from courier.request.header_templates import parse_header


def config(**values: Any) -> Config:
    return Config(**({"queue": "orders", "recipient_url": "http://127.0.0.1:1/in"} | values))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"path_attribute": "path"}, "--path-attribute: needs --path-allow"),
        ({"path_allow": ("/jobs",)}, "--path-allow: needs --path-attribute"),
        (
            {"path_attribute": "path", "path_allow": ("/",), "format": "lambda"},
            "--path-attribute: is for --format message",
        ),
        (
            {"cron": Path("c"), "path_attribute": "path", "path_allow": ("/",)},
            f"--cron: needs --path-attribute {TASK_PATH}",
        ),
        ({"cron": Path("c"), "format": "lambda"}, "--cron: is for --format message"),
        (
            {"format": "lambda", "batch_wait_seconds": 31.0},
            "--batch-wait: 31 s must be at most --visibility-timeout (30 s)",
        ),
        (
            {"format": "lambda", "header": (parse_header("X-Id: {message_id}"),)},
            "--header: X-Id holds {message_id}, which belongs to one message",
        ),
        ({"cron": Path("c"), "queue_type": "nop"}, "--cron: must be left out with --queue-type nop"),
        ({"cloudevents_type": "{attribute.}"}, "--cloudevents-type: "),
        ({"cloudevents_source": "{que}"}, "--cloudevents-source: there is no such placeholder; did you mean {queue}?"),
        ({"cloudevents_subject": "a}b"}, "--cloudevents-subject: "),
        ({"headers": "cloudevents", "content_type": "application/cloudevents+json"}, "--content-type: must be that of"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(**values)
    assert str(refused.value).startswith(line)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(("text", "prefix"), [(" /jobs ", "/jobs"), ("/%6aobs/", "/jobs/"), ("/", "/")])
def test_a_prefix_is_read_in_its_normal_form(text: str, prefix: str) -> None:
    assert PATH_PREFIX.parse(text) == prefix


@pytest.mark.parametrize("text", ["jobs", "/a/../b", "//", "/a?b", "http://host/a", "", "*"])
def test_a_prefix_that_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="like /jobs: it "):
        PATH_PREFIX.parse(text)


def test_with_periodic_tasks_messages_choose_their_paths_and_may_be_allowed_more() -> None:
    assert config(cron=Path("c")).chosen_path_attribute == TASK_PATH
    assert config(cron=Path("c"), path_allow=("/jobs",)).chosen_path_attribute == TASK_PATH
    assert config().chosen_path_attribute == ""
    assert config().tasks == ()


def test_a_file_of_tasks_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="--cron: cannot read"):
        config(cron=tmp_path / "none.yaml").tasks  # noqa: B018


def test_periodic_tasks_need_a_restart_and_paths_a_reload() -> None:
    assert "cron" not in RELOADABLE
    assert {
        "path_attribute",
        "path_allow",
        "cloudevents_source",
        "cloudevents_type",
        "cloudevents_subject",
    } <= RELOADABLE


def test_texts_of_events_have_no_effect_without_events() -> None:
    given = ["cloudevents_type", "attribute_headers"]
    notes = options_without_effect(config(cloudevents_type="a"), given, {})
    assert [note.name for note in notes] == ["--cloudevents-type"]
    notes = options_without_effect(config(cloudevents_type="a", headers="cloudevents"), given, {})
    assert [note.name for note in notes] == ["--attribute-headers"]


def test_a_batch_has_no_header_of_one_message_and_says_so() -> None:
    names = ("headers", "attribute_headers", "receipt_header", "content_type_attribute", "reject")
    given = config(format="lambda", headers="courier", receipt_header="X-R", content_type_attribute="kind")
    notes = {note.name for note in options_without_effect(given, names, {})}
    assert notes == {"--headers", "--attribute-headers", "--receipt-header", "--content-type-attribute", "--reject"}
    notes = {note.name for note in options_without_effect(config(), ("batch_wait_seconds",), {})}
    assert notes == {"--batch-wait"}
    assert config(format="lambda", header=(parse_header("X-Queue: {queue}"),)).is_batched
