"""The zstd library: Python's own from 3.14, before that the same code from ``backports.zstd``, or none."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

zstd: Any
"""The module ``compression.zstd``, or ``None`` if it isn't there."""

try:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
except ImportError:
    zstd = None
