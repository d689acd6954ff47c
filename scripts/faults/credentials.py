"""Temporary credentials of a program, in a file that is replaced the way a sidecar does it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final


class Credentials:
    """A shared credentials file with a session token. Programs that start with :meth:`environment` use it."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._numbers = itertools.count(1)
        self.token = ""
        self.renew()

    def environment(self) -> dict[str, str]:
        """Return the variables for the program; empty ones win over keys in its environment."""
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(self._path),
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
        }

    def renew(self) -> None:
        """Write a new token. The file is replaced, never half written."""
        self.token = f"token-{next(self._numbers)}"
        new = self._path.with_suffix(".new")
        new.write_text(
            f"[default]\naws_access_key_id = test\naws_secret_access_key = test\naws_session_token = {self.token}\n"
        )
        os.replace(new, self._path)
