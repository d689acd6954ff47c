from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
from collections.abc import Iterator

import pytest
import structlog

from courier.log import setup
from courier.log.recurring import report_recurring


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_logfmt_begins_with_time_level_pid_and_part() -> None:
    stream = io.StringIO()
    setup.configure("info", "logfmt", stream)
    structlog.get_logger("courier.sender").warning("worker died", role="sender", signal="SIGKILL", restart_in=0.0)
    assert re.fullmatch(
        r"timestamp=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=warning "
        rf'pid={os.getpid()} logger=courier.sender event="worker died" role=sender signal=SIGKILL restart_in=0.0\n',
        stream.getvalue(),
    )


def test_json_has_the_same_in_one_object_a_line() -> None:
    stream = io.StringIO()
    setup.configure("info", "json", stream)
    structlog.get_logger("courier.sender").info("ready", path=b"bytes", odd={1: 2})
    entry = json.loads(stream.getvalue())
    assert list(entry)[:5] == ["timestamp", "level", "pid", "logger", "event"]
    assert (entry["level"], entry["logger"], entry["event"]) == ("info", "courier.sender", "ready")


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_every_event_is_one_line_even_with_a_traceback_or_a_line_break(log_format: str) -> None:
    stream = io.StringIO()
    setup.configure("info", log_format, stream)
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        structlog.get_logger("courier").exception("failed", detail="a\nb")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError" in stream.getvalue()


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    setup.configure("warning", "logfmt", stream)
    structlog.get_logger("courier").info("quiet")
    assert stream.getvalue() == ""


def test_libraries_come_out_in_the_same_shape_and_the_chatty_ones_only_with_warnings() -> None:
    stream = io.StringIO()
    setup.configure("debug", "json", stream)
    for name in ("boto3", "botocore.credentials", "urllib3.connectionpool"):
        logging.getLogger(name).info("found credentials")
    logging.getLogger("botocore").warning("clock %s", "skew")
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "clock skew"
    assert json.loads(line)["logger"] == "botocore"


def test_a_line_that_cannot_be_written_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    setup.configure("info", "logfmt", FullDisk())
    structlog.get_logger("courier").info("lost")
    logging.getLogger("botocore").warning("lost too")
    assert capsys.readouterr().err == ""


def test_a_forked_child_logs_with_its_own_pid() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        setup.configure("info", "json", stream)
        pid = os.fork()
        if pid == 0:
            structlog.get_logger("courier").info("child")
            os._exit(0)
        os.waitpid(pid, 0)
    with open(reader) as lines:
        assert json.loads(lines.read())["pid"] == pid


def test_a_library_that_says_the_same_at_each_call_does_not_fill_the_log() -> None:
    stream = io.StringIO()
    setup.configure("info", "json", stream)
    for n in range(10_000):
        logging.getLogger("urllib3.connectionpool").warning("Connection pool is full, discarding connection: %s", n)
        structlog.get_logger("courier.sender").debug("attempt")
    report_recurring(rest=True)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sum(line.get("times", 1) for line in told) == 10_000
    assert len(told) == setup.FOREIGN_AT_ONCE + 1
    assert told[-1]["event"].endswith("9999")
