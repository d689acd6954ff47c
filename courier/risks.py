"""The risks that a start takes: guarantees that options turn off, and limits of the machine that are too low."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from courier.config.config import Config

_GUARDS: Final[tuple[tuple[str, Callable[[Config], float]], ...]] = (
    ("--breaker-threshold", lambda config: config.breaker_threshold),
    ("--reject-share", lambda config: config.reject_share),
)
"""The options that stop receiving before a queue drains."""

CRON_JOB: Final = Path("/etc/cron.daily/courier-audit")
"""Where the guide of versions before 0.2 installed a job that compresses and removes audit files."""

log = structlog.get_logger("courier")


def cron_job_of_old(config: Config, path: Path = CRON_JOB) -> str:
    """Return a warning, with advice after the semicolon, if the job for audit files is still installed; else empty."""
    if config.audit != "files" or not os.path.lexists(path):
        return ""
    return (
        f"{path} of an earlier version still compresses and removes audit files, which Courier does by itself now; "
        f"remove it: rm {path}"
    )


def warn_of_risks(config: Config, too_few_files: str, cron_job: Path = CRON_JOB) -> None:
    """Log the guarantees that the options turn off, a limit of open files that is too low, and what is in the way."""
    if too_few_files:
        reason, _, advice = too_few_files.partition("; ")
        log.warning(
            "too few open files for --concurrency, delivering fewer messages at a time", reason=reason, advice=advice
        )
    if config.audit == "none" or config.audit_policy == "best-effort":
        log.warning(
            "messages may be deleted without an audit record",
            audit=config.audit,
            policy=config.audit_policy,
            reason="--audit none" if config.audit == "none" else "--audit-policy best-effort",
            advice="nothing, if that is what you want; otherwise use --audit files or firehose with --audit-policy "
            "required",
        )
    off = [flag for flag, value in _GUARDS if not value(config)]
    if off:
        log.warning(
            "messages may drain into the dead-letter or failure queue while the recipient fails or refuses them",
            reason=f"{' and '.join(off)} turned off",
            advice="nothing, if that is what you want; otherwise leave the option out",
        )
    if old_job := cron_job_of_old(config, cron_job):
        reason, _, advice = old_job.partition("; ")
        log.warning("a cron job works on the audit files too", reason=reason, advice=advice)
