"""The risks that a start takes: guarantees that options turn off, and limits of the machine that are too low."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from courier.config.config import Config

_GUARDS: Final[tuple[tuple[str, Callable[[Config], float]], ...]] = (
    ("--breaker-threshold", lambda config: config.breaker_threshold),
    ("--reject-share", lambda config: config.reject_share),
)
"""The options that stop receiving before a queue drains."""

log = structlog.get_logger("courier")


def warn_of_risks(config: Config, too_few_files: str) -> None:
    """Log the guarantees that the options turn off, and a limit of open files that is too low."""
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
