"""The ids of ``--ids``: a file with one message id a line."""

from __future__ import annotations

from pathlib import Path

from courier.errors import ConfigError


def read_ids(path: Path) -> frozenset[str]:
    """Return the ids of a file; empty lines don't count. Raise ConfigError if it can't be read, or has none."""
    try:
        ids = frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise ConfigError(
            f"--ids: cannot read {path}: {error.strerror}; give a file with one message id a line"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"--ids: {path} is no text; give a file with one message id a line") from None
    ids -= {""}
    if not ids:
        raise ConfigError(f"--ids: {path} has no ids; give a file with one message id a line")
    return ids
