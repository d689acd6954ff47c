"""The commands that `make tools` installs: a test that needs one is skipped where it is missing, but in CI it fails."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/lib/podman"])
"""Where the Makefile looks, too: some commands are for root only, and one is no user's command."""


def need(*commands: str) -> None:
    """Skip the test, in CI fail it, if one of the commands is missing."""
    missing = [command for command in commands if shutil.which(command, path=PATH) is None]
    if missing:
        why = f"needs {', '.join(missing)}: make tools"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
