"""Chains: whatever happens to a byte of one is found."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.chain import encode, read_chain

KEY = Ed25519PrivateKey.generate()
FIELDS = st.dictionaries(
    st.sampled_from(["a", "b", "file", "at"]), st.none() | st.integers(0, 2**53) | st.text(), min_size=1
)


def chain(rows: list[dict[str, Any]], key: Ed25519PrivateKey | None) -> bytes:
    written, before = b"", ""
    for row in rows:
        line, before = encode(before, row, key)
        written += line
    return written


@given(st.lists(FIELDS, max_size=5), st.booleans())
def test_what_was_written_is_read(rows: list[dict[str, Any]], signed: bool) -> None:
    found = read_chain(chain(rows, KEY if signed else None))
    assert [link.fields for link in found.links] == rows
    assert not found.fault
    assert all(link.is_signed_by(KEY.public_key()) == signed for link in found.links)


@given(st.lists(FIELDS, min_size=1, max_size=4), st.booleans(), st.data())
def test_a_changed_added_or_removed_byte_is_a_fault_from_its_line_on(
    rows: list[dict[str, Any]], signed: bool, data: st.DataObject
) -> None:
    written = chain(rows, KEY if signed else None)
    at = data.draw(st.integers(0, len(written) - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != written[at]))])
    damaged = data.draw(
        st.sampled_from(
            [
                written[:at] + byte + written[at + 1 :],
                written[:at] + byte + written[at:],
                written[:at] + written[at + 1 :],
            ]
        )
    )
    found = read_chain(damaged)
    verified = [link.is_signed_by(KEY.public_key()) for link in found.links] if signed else []
    assert found.fault or not all(verified)
    assert found.sound <= at + 1 or not all(verified)


@given(st.lists(FIELDS, min_size=1, max_size=4), st.data())
def test_a_torn_last_line_is_told_from_damage(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    written = chain(rows, None)
    last = written.rfind(b"\n", 0, -1) + 1
    cut = data.draw(st.integers(last + 1, len(written) - 2))
    found = read_chain(written[:cut])
    assert found.torn
    assert found.sound == last
    assert not read_chain(written[:-1]).torn
