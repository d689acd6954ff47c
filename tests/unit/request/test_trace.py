from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.request.trace import Parent, read_traceparent, traceparent

ROOT, PARENT = "Root=1-5759e988-bd862e3fe1be46a994272793", "Parent=53995c3f42cd8ad8"


@pytest.mark.parametrize(
    ("trace", "told"),
    [
        (f"{ROOT};{PARENT};Sampled=1", "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"),
        (f"{ROOT};{PARENT};Sampled=0", "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-00"),
        (f"Sampled=1; {PARENT}; {ROOT};Lineage=a:1", "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"),
        (f"{ROOT};{PARENT}", ""),
        (f"{ROOT};{PARENT};Sampled=?", ""),
        (f"{ROOT};Sampled=1", ""),
        (f"{PARENT};Sampled=1", ""),
        (ROOT, ""),
        ("", ""),
        (f"{ROOT}0;{PARENT};Sampled=1", ""),
        (f"{ROOT.replace('1-', '2-', 1)};{PARENT};Sampled=1", ""),
        (f"{ROOT.upper()};{PARENT};Sampled=1", ""),
        (f"{ROOT};Parent=0000000000000000;Sampled=1", ""),
        (f"Root=1-00000000-000000000000000000000000;{PARENT};Sampled=1", ""),
    ],
)
def test_a_trace_is_told_in_w3cs_form_where_it_is_complete_and_valid(trace: str, told: str) -> None:
    assert traceparent(trace) == told


@given(st.text() | st.text("Root=1-Parent;Sampled0f"))
def test_anything_else_is_told_as_nothing(trace: str) -> None:
    assert re.fullmatch(r"(00-[0-9a-f]{32}-[0-9a-f]{16}-0[01])?", traceparent(trace))


def test_only_the_beginning_of_a_trace_without_end_is_looked_at() -> None:
    told = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
    assert traceparent(f"{ROOT};{PARENT};Sampled=1;{';' * 70_000}") == told
    assert traceparent(f"{';' * 70_000}{ROOT};{PARENT};Sampled=1") == ""


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_a_traceparent_says_trace_span_and_whether_it_is_sampled(text: str, is_sampled: bool) -> None:
    assert read_traceparent(text) == Parent(int(TRACE, 16), int(SPAN, 16), is_sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_what_is_no_traceparent_says_nothing(text: str) -> None:
    assert read_traceparent(text) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_every_valid_traceparent_is_read(trace_id: int, span_id: int, flags: int) -> None:
    found = read_traceparent(f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    assert found == Parent(trace_id, span_id, bool(flags & 1))


@given(st.text() | st.text("0123456789abcdef-f", min_size=50, max_size=60))
def test_no_text_is_too_strange_to_be_read(text: str) -> None:
    found = read_traceparent(text)
    assert found is None or (found.trace_id and found.span_id)
