"""The token of ``--page-control``, with which the live page may act."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"[!-~]{16,256}")


def parse_token(content: str) -> str:
    """Return the token that a file holds; raise ValueError, without the token, if it is none that is worth anything."""
    token = content.strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError("must hold one token of 16 to 256 printable characters without spaces; openssl rand -hex 16")
    return token
