"""The states of the audit log that the auditor writes on the scoreboard."""

from __future__ import annotations

from typing import Final

WELL: Final = 0

FAILING: Final = 1

LOSING: Final = 2
"""LOSING is FAILING with an audit policy that continues without the record."""
