"""The options of what a message really holds: envelopes, pointers to S3 and encodings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BodyConfig:
    """The options of what a message really holds: envelopes, pointers to S3 and encodings."""

    def _check_body(self) -> None:
        """Raise ConfigError if the values don't fit together."""
