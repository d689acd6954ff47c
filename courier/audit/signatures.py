"""The verdict about the signatures of a trail, given the public keys. Pure.

All lines of all seals are one sequence: a signed line vouches for those before it. So unsigned lines are right only at
the begin, before there was a key. The ledger and the journal are sequences of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from courier.audit.chain_reading import ChainReading, Signing
from courier.audit.record_chains import Journal, Ledger
from courier.audit.segment_check import SegmentCheck
from courier.audit.trail import JOURNAL, LEDGER
from courier.audit.verdicts import INVESTIGATE, Evidence

FOREIGN: Final = "if you trust another key too, give it with one more --public-key; otherwise {}"
NONE_SIGNED: Final = "no line of it is signed, although a public key was given"
UNSIGNED: Final = "not signed, although an earlier segment is"


def signature_evidence(checks: Sequence[SegmentCheck], ledger: Ledger, journal: Journal) -> list[Evidence]:
    """Return what is wrong with the signatures."""
    evidence: list[Evidence] = []
    is_signed = False
    begins_unsigned = False
    sealed = [check for check in checks if check.has_lines]
    for check in sealed:
        assert check.seal is not None
        signing = check.seal.chain.signing
        name = f"{check.group.stem}.seal"
        if not is_signed:
            begins_unsigned = begins_unsigned or signing.first_unsigned is not None
        elif signing.first_unsigned is not None and signing.unsigned_again is None:
            span = signing.first_unsigned
            evidence.append(Evidence("unsigned", check.number, name, span.start, span.end, UNSIGNED, INVESTIGATE))
        evidence.extend(_in_chain(check.number, name, signing))
        is_signed = is_signed or signing.first_signed is not None
    if sealed and not is_signed:
        first = sealed[0]
        what = "no seal is signed, although a public key was given"
        evidence.append(Evidence("unsigned", None, f"{first.group.stem}.seal", None, None, what, INVESTIGATE))
    for name, chain in ((LEDGER, ledger.chain), (JOURNAL, journal.chain)):
        evidence.extend(_in_chain(None, name, chain.signing))
        if chain.lines and chain.signing.first_signed is None and not begins_unsigned:
            evidence.append(Evidence("unsigned", None, name, None, None, NONE_SIGNED, INVESTIGATE))
    return evidence


def _in_chain(number: int | None, name: str, signing: Signing) -> list[Evidence]:
    evidence = []
    if span := signing.unsigned_again:
        evidence.append(Evidence("unsigned", number, name, span.start, span.end, span.what, INVESTIGATE))
    if span := signing.foreign:
        advice = FOREIGN.format(INVESTIGATE)
        evidence.append(Evidence("signature", number, name, span.start, span.end, span.what, advice))
    return evidence


def signed_lines(checks: Sequence[SegmentCheck], ledger: Ledger, journal: Journal) -> tuple[tuple[int, ...], int]:
    """Return how many lines each of the keys has signed, and how many signatures nobody could check."""
    chains: list[ChainReading] = [check.seal.chain for check in checks if check.seal is not None]
    chains += [ledger.chain, journal.chain]
    valid = [chain.signing.valid for chain in chains if chain.signing.valid]
    unchecked = sum(chain.signing.unchecked for chain in chains)
    return tuple(map(sum, zip(*valid, strict=True))), unchecked
