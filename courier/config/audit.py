"""The options of the audit log: where deliveries are recorded, and what a record keeps."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from courier.audit.archive_place import archive_place
from courier.config.checks import check_aws_url, refuse
from courier.config.option import DAY, option
from courier.config.units import PATH, TEXT, number, one_of, or_off, plain_size, seconds, size

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
    audit_compress: str = _option(
        "auto",
        "--audit-compress",
        one_of("auto", "zstd", "gzip", "none"),
        "How finished audit files are compressed.",
        "auto: zstd if its library is there, otherwise none. Another process of low priority does it, and reads what "
        "it has written before the plain file goes. gzip takes four times as long.",
    )
    audit_keep_seconds: float | None = _option(
        None,
        "--audit-keep",
        or_off(seconds(1, 36_600 * DAY)),
        "Age at which a finished audit file is removed.",
        "Counted from its last record. The file that Courier writes to stays.",
    )
    audit_keep_bytes: int | None = _option(
        None,
        "--audit-keep-bytes",
        or_off(size(8192, 1024**5)),
        "Size of the audit files at which the oldest are removed.",
        "At least twice --audit-max-bytes, since the newest file grows to that.",
    )
    audit_sign_key: Path | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--audit-sign-key",
        PATH,
        "Private key (ed25519, PEM) that signs the seals.",
        "courier audit keygen makes one, and courier audit verify checks the signatures with its public half. Courier "
        "refuses a key that every user of the machine can read.",
        may_hold_secret=True,
    )
    dedupe_window: int = _option(
        100_000,
        "--dedupe-window",
        number(0, 10_000_000),
        "Ids of recorded messages to recognise.",
        "A message whose record is durable but whose delete was lost comes again; then it is deleted without a second "
        "delivery. Each takes about 77 bytes of memory, which all processes share. 0 recognises none. Only with "
        "--audit files and --audit-policy required.",
    )
    audit_archive: str | None = _option(
        None,
        "--audit-archive",
        TEXT,
        "Where ended audit files are archived: s3://bucket/prefix.",
        "Each is uploaded with its seal, and stays on the disk until --audit-keep or --audit-keep-bytes removes it. "
        "Each audit directory needs a prefix of its own. A failing archive stops nothing, unless --audit-keep-bytes "
        "can't be kept.",
    )
    audit_archive_endpoint_url: str | None = _option(
        None,
        "--audit-archive-endpoint-url",
        TEXT,
        "URL of an S3 API other than AWS's.",
        "For example that of an emulator, or of another store with this API.",
        may_hold_secret=True,
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
        if self.audit == "files":
            self._check_files()
        if self.audit_archive is not None:
            try:
                archive_place(self.audit_archive)
            except ValueError as error:
                refuse("--audit-archive", str(error))
        if self.audit_archive_endpoint_url:
            check_aws_url("--audit-archive-endpoint-url", self.audit_archive_endpoint_url, "http://127.0.0.1:4566")
        if self.firehose_endpoint_url:
            check_aws_url("--firehose-endpoint-url", self.firehose_endpoint_url, "http://127.0.0.1:4566")

    def _check_files(self) -> None:
        least = 2 * self.audit_max_bytes
        if self.audit_keep_bytes is not None and self.audit_keep_bytes < least:
            refuse(
                "--audit-keep-bytes",
                f"{plain_size(self.audit_keep_bytes)} must be at least {plain_size(least)}, twice --audit-max-bytes; "
                "raise it, or lower that",
            )
        if self.audit_compress == "zstd" and not _has_zstd():
            refuse("--audit-compress", "zstd needs a library; install backports.zstd, or use gzip or none")

    @property
    def audit_packing(self) -> str:
        """The suffix of compressed audit files; empty if they aren't compressed."""
        if self.audit_compress == "auto":
            return ".zst" if _has_zstd() else ""
        return {"zstd": ".zst", "gzip": ".gz", "none": ""}[self.audit_compress]


def _has_zstd() -> bool:
    """Return whether the library is there. It isn't imported: only a child of the auditor needs it."""
    with suppress(ModuleNotFoundError):
        return find_spec("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd") is not None
    return False
