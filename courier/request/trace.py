"""The conversion of X-Ray's trace header to W3C Trace Context."""

from __future__ import annotations

import re
from typing import Final

_ROOT: Final = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT: Final = re.compile(r"[0-9a-f]{16}")
_LONGEST: Final = 4096
"""The most characters of the header that are read: SQS allows a megabyte."""

_FLAGS: Final = {"0": "00", "1": "01"}


def traceparent(trace: str) -> str:
    """Return the ``traceparent`` (Trace Context, level 1) of an ``X-Amzn-Trace-Id``.

    It is empty if the trace has no parent or no decision about sampling, or if an id is malformed or all zeros, which
    W3C forbids.
    """
    fields = dict(field.strip().partition("=")[::2] for field in trace[:_LONGEST].split(";"))
    root = _ROOT.fullmatch(fields.get("Root", ""))
    parent = fields.get("Parent", "")
    flags = _FLAGS.get(fields.get("Sampled", ""))
    if root is None or flags is None or not _PARENT.fullmatch(parent):
        return ""
    trace_id = root[1] + root[2]
    if not trace_id.strip("0") or not parent.strip("0"):
        return ""
    return f"00-{trace_id}-{parent}-{flags}"
