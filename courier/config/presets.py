"""The presets: the defaults of other options that ``--preset`` replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NO_PRESET: Final = "none"

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    NO_PRESET: {},
    # Elastic Beanstalk's worker tier: the defaults of aws-sqsd, whose only success is 200.
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
"""By field name of :class:`courier.config.config.Config`. An option that is given overrides its preset."""
