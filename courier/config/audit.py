"""The options of the audit log: where deliveries are recorded, and what a record keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from courier.config.checks import check_aws_url, refuse
from courier.config.option import DAY, option
from courier.config.units import PATH, TEXT, one_of, seconds, size

_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_option = partial(option, "Audit")


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """The options of the audit log."""

    audit: str = _option(
        "files",
        "--audit",
        one_of("files", "firehose", "none"),
        "Where deliveries are recorded.",
        "Each delivery is recorded before its message is deleted. files: in --audit-path. firehose: in "
        "--firehose-stream. none: nowhere.",
    )
    audit_path: Path = _option(Path("audit"), "--audit-path", PATH, "Directory of the audit files.")  # noqa: RUF009 (immutable)
    firehose_stream: str = _option(
        "",
        "--firehose-stream",
        TEXT,
        "Name of the Firehose stream for --audit firehose.",
        variable="AWS_FIREHOSE_STREAM",
    )
    audit_policy: str = _option(
        "required",
        "--audit-policy",
        one_of("required", "best-effort"),
        "What happens if recording fails.",
        "required: the message is not deleted until its record is written. best-effort: a delivered message is deleted "
        "even without its record.",
    )
    audit_body: str = _option(
        "full",
        "--audit-body",
        one_of("full", "sha256", "none"),
        "What a record keeps of the message body.",
        "full: all of it. sha256: its SHA-256 and length. none: nothing.",
    )
    audit_format: str = _option(
        "json",
        "--audit-format",
        one_of("json", "text"),
        "Format of the records.",
        "json: one line of JSON per message. text: rows of message id and body, as trussle/courier wrote them.",
    )
    audit_events: str = _option(
        "delivered",
        "--audit-events",
        one_of("delivered", "all"),
        "What leaves a line in the audit log.",
        "delivered: deliveries, and rejected messages that the failure queue gets. all: also failed attempts, "
        "rejections without a failure queue, lapsed leases, releases and duplicates.",
    )
    audit_max_bytes: int = _option(
        256 * 1024**2, "--audit-max-bytes", size(4096, 1024**4), "Size at which a new audit file begins."
    )
    audit_max_age_seconds: float = _option(
        3600.0, "--audit-max-age", seconds(1, 366 * DAY), "Age at which a new audit file begins."
    )
    firehose_endpoint_url: str | None = _option(
        None,
        "--firehose-endpoint-url",
        TEXT,
        "URL of a Firehose API other than AWS's.",
        "For example that of an emulator.",
        may_hold_secret=True,
    )

    def _check_audit(self) -> None:
        flag, name = "--firehose-stream", self.firehose_stream
        if self.audit == "firehose" and not name:
            refuse(
                flag,
                "is missing; give the name of the Firehose stream, or set COURIER_FIREHOSE_STREAM or "
                "AWS_FIREHOSE_STREAM",
            )
        if self.audit == "firehose" and not _STREAM_NAME.fullmatch(name):
            refuse(flag, f"{name!r} must be a name, not an ARN: up to 64 letters, digits, dots, hyphens and _")
        if self.audit_events == "all" and self.audit_format == "text" and self.audit != "none":
            refuse(
                "--audit-events",
                "all needs --audit-format json, because a row of text has no place for what happened; give json, or "
                "leave --audit-events out",
            )
        if self.firehose_endpoint_url:
            check_aws_url("--firehose-endpoint-url", self.firehose_endpoint_url, "http://127.0.0.1:4566")
