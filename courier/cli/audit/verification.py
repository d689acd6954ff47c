"""The report of ``courier audit verify``, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import orjson

from courier.audit.verdicts import Doubt, Evidence, Report
from courier.terminal.texts import plural, size

INTACT: Final = "intact"
TAMPERED: Final = "evidence"
NO_SIGNATURE: Final = "nobody; seals without a signature show accidents, but whoever can write there can write new ones"
UNCHECKED: Final = "somebody: {} not checked; give the key with --public-key"


def text(place: str, report: Report, fingerprints: Sequence[str]) -> Iterator[str]:
    """Yield the lines for people: evidence first, then what is unverifiable, then what is vouched for."""
    for one in report.evidence:
        yield f"EVIDENCE      {_where(one)}: {one.what}"
        yield f"              to do: {one.advice}"
    for line in _doubts(report.doubts):
        yield f"unverifiable  {line}"
    vouched = report.vouched
    of = f"{vouched.segments:,} of {plural(report.segments, 'segment')}"
    yield f"vouched for   {of}, {plural(vouched.records, 'record')}, {size(vouched.bytes)}{_times(report)}"
    yield f"signed by     {_signers(report, fingerprints)}"
    if report.evidence:
        yield f"verdict       EVIDENCE OF TAMPERING OR DAMAGE in {plural(len(report.evidence), 'place')} of {place}"
    elif vouched.segments:
        yield f"verdict       intact: {place} has what was sealed{', but for the above' if report.doubts else ''}"
    else:
        yield f"verdict       nothing of {place} is sealed, so that nothing is vouched for"


def json(place: str, report: Report, fingerprints: Sequence[str]) -> bytes:
    """Return the report as one line of JSON."""
    fields: dict[str, Any] = {
        "verdict": TAMPERED if report.evidence else INTACT,
        "place": place,
        "segments": report.segments,
        "vouched": report.vouched._asdict(),
        "signed": dict(zip(fingerprints, report.signed, strict=False)),
        "signatures_unchecked": report.unchecked,
        "evidence": [_fields(one) for one in report.evidence],
        "unverifiable": [_fields(one) for one in report.doubts],
    }
    return orjson.dumps(fields, None, orjson.OPT_APPEND_NEWLINE)


def _fields(one: Evidence | Doubt) -> dict[str, Any]:
    fields = one._asdict()
    if raw := fields.pop("raw", None):
        fields["file_start"], fields["file_end"] = raw
    return fields


def _where(one: Evidence | Doubt) -> str:
    segment = "" if one.segment is None else f"segment {one.segment}, "
    return f"{segment}{one.file}{_range(one)}"


def _range(one: Evidence | Doubt) -> str:
    if one.start is None:
        return ""
    of = " of its records" if isinstance(one, Evidence) and one.raw else ""
    end = "the end" if one.end is None else str(one.end)
    packed = f", bytes {one.raw[0]} to {one.raw[1]} of the file" if isinstance(one, Evidence) and one.raw else ""
    return f", offsets {one.start} to {end}{of}{packed}"


def _doubts(doubts: Sequence[Doubt]) -> Iterator[str]:
    """Yield a line for each doubt; those of one kind that follow each other without a range share one."""
    for _, same in groupby(doubts, key=lambda one: (one.kind, one.start or None, one.end)):
        several = list(same)
        first, last = several[0], several[-1]
        if len(several) == 1:
            yield f"{_where(first)}: {first.what}"
        else:
            yield f"{plural(len(several), 'segment')}, {first.file} to {last.file}: {first.what}"


def _times(report: Report) -> str:
    return f", from {report.vouched.first} to {report.vouched.last}" if report.vouched.first else ""


def _signers(report: Report, fingerprints: Sequence[str]) -> str:
    names = [f"{name} ({plural(number, 'line')})" for name, number in zip(fingerprints, report.signed, strict=False)]
    if names:
        return ", ".join(names)
    return UNCHECKED.format(plural(report.unchecked, "signature")) if report.unchecked else NO_SIGNATURE
