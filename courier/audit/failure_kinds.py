"""The kinds of failed calls to an AWS service of the audit trail. Pure."""

from __future__ import annotations

from typing import Final

PASSING: Final = "passing"
"""Throttling, the network, a fault of the service: the same call may succeed soon."""

KEYS: Final = "keys"
"""The credentials are at fault. Another search of boto3's chain may find others."""

FORBIDDEN: Final = "forbidden"
"""A policy is missing."""

REFUSED: Final = "refused"
"""Another refusal, which lasts until the operator changes something."""
