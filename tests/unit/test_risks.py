"""The risks that a start warns of."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.config.config import Config
from courier.risks import CRON_JOB, cron_job_of_old, warn_of_risks


def config(audit: str = "files") -> Config:
    stream = "stream" if audit == "firehose" else ""
    return Config(queue_type="nop", recipient_url="http://127.0.0.1:8/", audit=audit, firehose_stream=stream)


@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_a_copy_of_the_old_cron_job_is_named_with_the_command_that_removes_it(tmp_path: Path, kind: str) -> None:
    job = tmp_path / "courier-audit"
    if kind == "file":
        job.write_text("#!/bin/sh\n")
    else:
        job.symlink_to(tmp_path / "gone")
    with capture_logs() as logs:
        warn_of_risks(config(), "", job)
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["reason"].startswith(f"{job} ")
    assert line["advice"] == f"remove it: rm {job}"


def test_without_a_copy_or_without_files_nothing_is_said(tmp_path: Path) -> None:
    job = tmp_path / "courier-audit"
    with capture_logs() as logs:
        warn_of_risks(config(), "", job)
    assert logs == []
    job.touch()
    assert cron_job_of_old(config("firehose"), job) == ""
    assert cron_job_of_old(config(), job) != ""


def test_the_place_is_that_of_the_guide_of_earlier_versions() -> None:
    assert str(CRON_JOB) == "/etc/cron.daily/courier-audit"
