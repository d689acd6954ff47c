"""``courier audit verify``: whether the audit log is what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from courier.audit.archive_place import SCHEME, archive_place
from courier.audit.public_key import fingerprint, read_public_key
from courier.audit.trail import DirectoryTrail, Trail
from courier.audit.verify import Progress, verify
from courier.cli.audit.verification import json, text
from courier.cli.one_queue import directory_parameters
from courier.cli.progress_line import ProgressLine
from courier.cli.status import output_option
from courier.errors import ConfigError
from courier.log.printable import escaped
from courier.terminal.texts import size

EXIT_INTACT: Final = 0
EXIT_EVIDENCE: Final = 1


@click.command(
    "verify",
    params=[
        *directory_parameters("place", "[DIR|s3://BUCKET/PREFIX]", str),
        click.Option(
            ["--public-key", "key_files"],
            metavar="FILE",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Public key that must have signed the seals. Repeat it for each key that was in use.",
        ),
        click.Option(
            ["--audit-archive-endpoint-url", "endpoint_url"],
            metavar="URL",
            envvar="COURIER_AUDIT_ARCHIVE_ENDPOINT_URL",
            help="Address of the S3 API, if it is not that of AWS.",
        ),
        click.Option(["--region"], metavar="NAME", envvar="COURIER_REGION", help="AWS region of the bucket."),
        output_option(),
    ],
)
def command(place: str, key_files: tuple[Path, ...], endpoint_url: str | None, region: str | None, output: str) -> int:
    """Find changed, removed, added, reordered and cut records, and missing and swapped segments.

    Reads a directory of audit files (default: $COURIER_AUDIT_PATH, that of --config, or ./audit), also while
    Courier writes to it, the copy of an archive, or the archive itself. Exit codes: 0 no evidence of tampering,
    1 evidence, 3 something can't be read, 130 Ctrl-C.
    """
    try:
        keys = [read_public_key(path) for path in key_files]
    except ValueError as error:
        raise ConfigError(f"--public-key: {error}") from None
    trail = _trail(place, endpoint_url, region)
    progress = _Shown()
    try:
        report = verify(trail, keys, progress)
    finally:
        progress.clear()
    fingerprints = [fingerprint(key) for key in keys]
    if output == "json":
        click.echo(json(str(trail), report, fingerprints), nl=False)
    else:
        for line in text(str(trail), report, fingerprints):
            click.echo(escaped(line))
    return EXIT_EVIDENCE if report.evidence else EXIT_INTACT


def _trail(place: str, endpoint_url: str | None, region: str | None) -> Trail:
    if not place.startswith(SCHEME):
        return DirectoryTrail(Path(place))
    from courier.audit.archive_trail import ArchiveTrail

    try:
        return ArchiveTrail(archive_place(place), region, endpoint_url)
    except ValueError as error:
        raise ConfigError(f"{place} {error}") from None


class _Shown(Progress):
    """Progress in one line that the report replaces."""

    def __init__(self) -> None:
        super().__init__()
        self._line = ProgressLine()

    def at_next(self) -> None:
        super().at_next()
        self._show()

    def read(self, number: int) -> None:
        super().read(number)
        self._show()

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()

    def _show(self) -> None:
        line = self._line
        if line.is_due():
            rate = self.bytes / line.seconds
            line.show(f"verifying segment {self.segment:,} of {self.segments:,}, {size(self.bytes)}, {size(rate)}/s")
