"""W3C Trace Context: its ``traceparent``, made of X-Ray's trace header, and read."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ROOT: Final = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT: Final = re.compile(r"[0-9a-f]{16}")
_LONGEST: Final = 4096
"""The most characters of the header that are read: SQS allows a megabyte."""

_FLAGS: Final = {"0": "00", "1": "01"}

# Later versions may append fields; ff is no version.
_TRACEPARENT: Final = re.compile(
    r"(?:00|(?!ff)[0-9a-f]{2}(?=.{53}(?:-|\Z)))-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})"
)
_LENGTH: Final = 55
_SAMPLED: Final = 1


class Parent(NamedTuple):
    """A span elsewhere, whose child is to be made: the ids of its trace and its own, and whether it is sampled."""

    trace_id: int
    span_id: int
    is_sampled: bool


def read_traceparent(text: str) -> Parent | None:
    """Return what a ``traceparent`` (Trace Context, level 1) says, or None if it isn't one."""
    found = _TRACEPARENT.match(text)
    if found is None or (text.startswith("00") and len(text) != _LENGTH):
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return Parent(trace_id, span_id, bool(flags & _SAMPLED)) if trace_id and span_id else None


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
