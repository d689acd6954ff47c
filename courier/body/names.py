"""The names of the codings that can be undone, and how many of them."""

from __future__ import annotations

from typing import Final

BASE64: Final = "base64"
GZIP: Final = "gzip"
ZSTD: Final = "zstd"
CODINGS: Final = (BASE64, GZIP, ZSTD)

MOST_CODINGS: Final = 4
"""More of them, one within another, are no producer's intention."""
