"""cron.yaml: AWS's own example is read, and whatever is wrong is said in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from courier.errors import CannotStart
from courier.scheduler.tasks import MOST_BYTES, read_tasks
from tests.examples import examples

# From "Elastic Beanstalk worker environments", section "Periodic tasks".
OF_AWS = """\
version: 1
cron:
 - name: "backup-job"
   url: "/backup"
   schedule: "0 */12 * * *"
 - name: "audit"
   url: "/audit"
   schedule: "0 23 * * *"
"""

TASK = {"name": "a", "url": "/a", "schedule": "* * * * *"}


def file(directory: Path, content: object) -> Path:
    path = directory / "cron.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_the_example_of_aws_is_read(tmp_path: Path) -> None:
    backup, audit = read_tasks(file(tmp_path, OF_AWS))
    assert (backup.name, backup.path, audit.name, audit.path) == ("backup-job", "/backup", "audit", "/audit")
    assert backup.schedule.next_after(0) == 720
    assert audit.schedule.next_after(0) == 1380


def test_a_link_is_followed_as_in_kubernetes(tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(file(tmp_path, OF_AWS))
    assert len(read_tasks(tmp_path / "link.yaml")) == 2


def test_a_url_without_a_slash_is_one_of_the_application(tmp_path: Path) -> None:
    (task,) = read_tasks(file(tmp_path, {"version": 1, "cron": [{**TASK, "url": "jobs/x"}]}))
    assert task.path == "/jobs/x"


def test_no_task_at_all_is_fine(tmp_path: Path) -> None:
    assert read_tasks(file(tmp_path, {"version": 1, "cron": []})) == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no version"),
        ("cron: []", "no version"),
        ({"version": 2, "cron": []}, "no version"),
        ({"version": True, "cron": []}, "no version"),
        ({"version": "1", "cron": []}, "no version"),
        ({"version": 1}, "no list"),
        ({"version": 1, "cron": {"name": "a"}}, "no list"),
        ({"version": 1, "cron": [TASK] * 1001}, "no list of at most 1000"),
        ({"version": 1, "cron": ["a"]}, "number 1, that is not complete"),
        ({"version": 1, "cron": [TASK, {"name": "b", "url": "/b"}]}, "number 2, that is not complete"),
        ({"version": 1, "cron": [{**TASK, "name": 7}]}, "not complete"),
        ({"version": 1, "cron": [{**TASK, "name": "ä"}]}, "bad name"),
        ({"version": 1, "cron": [{**TASK, "name": "a\r\nHost: x"}]}, "bad name"),
        ({"version": 1, "cron": [{**TASK, "name": " "}]}, "bad name"),
        ({"version": 1, "cron": [{**TASK, "name": "x" * 101}]}, "bad name"),
        ({"version": 1, "cron": [TASK, TASK]}, "two tasks with the name 'a'"),
        ({"version": 1, "cron": [{**TASK, "url": "http://evil/a"}]}, "'a' whose url is not a path"),
        ({"version": 1, "cron": [{**TASK, "url": "/a?b"}]}, "'a' whose url is not a path"),
        ({"version": 1, "cron": [{**TASK, "schedule": "0 0 30 2 *"}]}, "'a' with a bad schedule; it must come"),
        ("version: 1\ncron:\n - name: a\n   schedule: * * * * *\n", "not YAML at line 4; quote schedules"),
        ("version: 1\ncron: !!python/object/apply:os.system ['true']\n", "not YAML at line 2"),
        ("version: 1\nversion: [", "not YAML"),
        ("[" * 500, "not YAML"),
        ("x" * (MOST_BYTES + 1), "more than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_said_in_one_line_with_the_file(tmp_path: Path, content: Any, says: str) -> None:
    path = file(tmp_path, content)
    with pytest.raises(CannotStart, match=says) as raised:
        read_tasks(path)
    line = str(raised.value)
    assert line.startswith(f"--cron: {path} ")
    assert line.isprintable()
    assert raised.value.advice


def test_a_file_that_is_none_ends_nothing_but_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name in ("fifo", "bytes", "missing", "."):
        with pytest.raises(CannotStart, match="--cron: "):
            read_tasks(tmp_path / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["/a", "* * * * *", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["version", "cron", "name", "url", "schedule", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON | st.lists(JSON, max_size=3).map(lambda cron: {"version": 1, "cron": cron}))
def test_any_file_is_read_or_refused_in_one_line(tmp_path: Path, content: Any) -> None:
    says = ""
    try:
        read_tasks(file(tmp_path, content))
    except CannotStart as error:
        says = str(error)
    assert says.isprintable()
