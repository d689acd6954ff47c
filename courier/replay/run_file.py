"""The file ``replay.json`` in the audit directory of a replay: what is sent again, so that it can be resumed."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from courier.audit.lock import make_directory, sync_directory
from courier.audit.regular_file import open_regular, write_all
from courier.errors import CannotStart, ConfigError
from courier.replay.selection import End

FILE_NAME: Final = "replay.json"
MOST_BYTES: Final = 1024**2


@dataclass(frozen=True, slots=True)
class Run:
    """A replay: its id, the directory of the records, the filters that chose them, where they end, and the recipient.

    ``filters`` are the options that choose, by flag, as they were given. ``since`` and ``until`` are the instants that
    two of them meant then. ``recipient`` is scheme, host and port of the URL, or the queue. ``messages`` is how many
    there were to send.
    """

    run_id: str
    source: str
    filters: dict[str, list[str]]
    since: str
    until: str
    end: End
    recipient: str
    messages: int = 0

    def write(self, directory: Path) -> None:
        """Write the file durably into a new directory. Raise CannotStart if that fails, or if anything is there."""
        path = directory / FILE_NAME
        try:
            make_directory(directory)
            if next(directory.iterdir(), None) is not None:
                raise ConfigError(
                    f"--replay-audit: {directory} is not empty; give a new directory, "
                    "or --resume to go on with the replay in it"
                )
            fresh = directory / f".{FILE_NAME}"
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            try:
                write_all(
                    fd,
                    orjson.dumps(
                        {**asdict(self), "end": list(self.end)}, None, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
                    ),
                )
                os.fsync(fd)
            finally:
                os.close(fd)
            fresh.rename(path)
            sync_directory(directory)
        except OSError as error:
            raise CannotStart(
                f"cannot write {path}: {error.strerror}; give another directory with --replay-audit"
            ) from None


def read_run(directory: Path) -> Run:
    """Return the replay whose audit directory this is. Raise ConfigError if it is none, or can't be read."""
    path = directory / FILE_NAME
    try:
        with open(open_regular(path, os.O_RDONLY), "rb") as file:
            fields = orjson.loads(file.read(MOST_BYTES))
        return Run(**{**fields, "end": End(*fields["end"])})
    except OSError as error:
        raise ConfigError(
            f"--resume: cannot read {path}: {error.strerror}; give the directory that the replay printed"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"--resume: {path} is not the file of a replay; give the directory that it printed") from None


def new_run_id() -> str:
    """Return a new run id: the time (UTC), which sorts, and six digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
