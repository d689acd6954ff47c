"""The pause that a person asked for, for its readers; :mod:`courier.process.pause` has the rules."""

from __future__ import annotations

from courier.process.pause import Pause, is_paused, read_pause, write_pause

__all__ = ["Pause", "is_paused", "read_pause", "write_pause"]
