"""The options of the form of a request, and where it goes by message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FormatsConfig:
    """The options of the form of a request, and where it goes by message."""

    def _check_formats(self) -> None:
        """Raise ConfigError if the values don't fit together."""
