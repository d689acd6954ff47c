"""Presets: what ``--preset`` changes at once, in place of the defaults of other options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NO_PRESET: Final = "none"

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    NO_PRESET: {},
    # Elastic Beanstalk's worker tier: the defaults of aws-sqsd's options, and 200 its only success.
    "sqsd": {
        "headers": "sqsd",
        "content_type": "application/json",
        "connect_timeout_seconds": 5.0,
        "timeout_seconds": 299.0,
        "visibility_timeout_seconds": 300,
        "success": "200",
        "retry_delay_seconds": 2.0,
    },
}
"""By the names of :class:`courier.config.Config`'s fields. Whatever is given for an option stands before its preset."""
