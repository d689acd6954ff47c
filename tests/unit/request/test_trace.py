from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.request.trace import traceparent

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
