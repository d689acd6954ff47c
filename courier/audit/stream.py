"""The address of a Firehose stream."""

from __future__ import annotations

from typing import NamedTuple


class Stream(NamedTuple):
    """A stream and its address.

    If ``region`` or ``endpoint_url`` is ``None``, boto3's chain decides; if that knows no region, ``fallback_region``.
    """

    name: str
    region: str | None = None
    endpoint_url: str | None = None
    fallback_region: str | None = None
