from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.unit.cli.running import Running, running, until


def assert_nothing_is_left(demo: Running) -> None:
    until(lambda: not demo.relatives(), lambda: str(demo.relatives()))
    assert [path.name for path in demo.directory.iterdir()] == ["output"]


def test_the_demo_accounts_for_every_message_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--messages", "503") as demo:
        assert demo.wait() == 0, demo.text()
        assert re.fullmatch(
            r"sent 503 delivered 503 audited 503 deleted 503 duplicates 0 lost 0 rate [\d,]+ msg/s",
            demo.text().splitlines()[-1],
        )
        assert_nothing_is_left(demo)


def supervisors(demo: Running) -> list[str]:
    logs = [log.read_text() for log in demo.directory.glob("courier-demo-*/pipeline.log")]
    return re.findall(r" pid=(\d+) .*event=ready", "".join(logs))


def wait_until_delivering(demo: Running) -> int:
    """Wait until the pipeline of a demo is ready, and return its supervisor's pid."""
    until(lambda: bool(supervisors(demo)), demo.text)
    return int(supervisors(demo)[0])


# One of each, so that it goes on for a while.
SLOW = ("demo", "--messages", "20000", "--consumers", "1", "--senders", "1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_stops_what_it_started_when_it_is_told_to_end(tmp_path: Path, number: int) -> None:
    with running(tmp_path, *SLOW) as demo:
        wait_until_delivering(demo)
        assert demo.signal(number) == 130
        assert "Traceback" not in demo.text()
        assert_nothing_is_left(demo)


def test_the_demo_can_be_ended_while_it_still_sends(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--messages", "1000000") as demo:
        demo.wait_for("sent ")
        assert len(demo.relatives()) == 2
        assert demo.signal(signal.SIGINT) == 130
        assert_nothing_is_left(demo)


def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, *SLOW) as demo:
        wait_until_delivering(demo)
        assert demo.signal(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not demo.relatives(), lambda: str(demo.relatives()))


def test_the_demo_says_which_program_failed_with_the_end_of_its_log(tmp_path: Path) -> None:
    with running(tmp_path, *SLOW) as demo:
        os.kill(wait_until_delivering(demo), signal.SIGKILL)
        assert demo.wait() == 4, demo.text()
        assert demo.text().splitlines()[-1] == "courier: error: pipeline ended early, with code -9"
        assert "logger=courier" in demo.text()
        assert_nothing_is_left(demo)
