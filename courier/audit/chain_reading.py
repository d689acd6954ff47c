"""A reader of chains that trusts nothing: in bounded memory, whatever their size, with what their signatures are worth.

Seals, the ledger and the journal are read with it where their truth is in question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from courier.audit.chain import Link, read_chain

BLOCK: Final = 1024 * 1024
LONGEST_LINE: Final = 64 * 1024
"""Bytes; the longest that Courier writes has a thousand."""

MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of a chain after which it is none of Courier's: a ledger of a segment a minute needs two years for them."""


class Span(NamedTuple):
    """A part of a file, from one offset to another, and what is wrong with it."""

    start: int
    end: int
    what: str


class Signing(NamedTuple):
    """How the lines of a chain are signed.

    ``first_signed`` and ``first_unsigned`` are the first such lines, without those that may come late, as after FINAL.
    ``unsigned_again`` is the first unsigned line after a signed one, ``foreign`` the first that none of the given keys
    has signed. ``valid`` is the number of lines that each key has signed, ``unchecked`` that of signatures without any
    key to check them.
    """

    first_signed: Span | None = None
    first_unsigned: Span | None = None
    unsigned_again: Span | None = None
    foreign: Span | None = None
    valid: tuple[int, ...] = ()
    unchecked: int = 0


class ChainReading(NamedTuple):
    """What a chain is worth: its number of sound lines, and what is wrong after them.

    ``size`` is the bytes that were read, all if there is no ``fault``, which is evidence. ``torn`` is a last line that
    a crash tore.
    """

    lines: int
    size: int
    fault: Span | None
    torn: Span | None
    signing: Signing


EMPTY: Final = ChainReading(0, 0, None, None, Signing())


def follow_chain(
    file: IO[bytes],
    begins_with: str | None,
    keys: Sequence[Ed25519PublicKey],
    each: Callable[[Link], str],
    comes_late: Callable[[Link], bool] = lambda link: False,
) -> ChainReading:
    """Call ``each`` for every sound line of a chain, and return what the chain is worth; raise OSError.

    ``each`` returns what is wrong with the fields of a line, empty if nothing is. The reading ends at the first fault.
    """
    reader = _Reader(begins_with, keys, each, comes_late)
    data = b""
    while block := file.read(BLOCK):
        data += block
        whole = data.rfind(b"\n") + 1
        if not reader.take(data[:whole]):
            break
        data = data[whole:]
        if len(data) > LONGEST_LINE or reader.at > MOST_BYTES:
            reader.refuse(len(data), "it is longer than Courier writes it")
            break
    else:
        reader.end(data)
    return reader.reading()


class _Reader:
    def __init__(
        self,
        begins_with: str | None,
        keys: Sequence[Ed25519PublicKey],
        each: Callable[[Link], str],
        comes_late: Callable[[Link], bool],
    ) -> None:
        self.at = 0
        self._before = begins_with
        self._keys = keys
        self._each = each
        self._comes_late = comes_late
        self._lines = 0
        self._fault: Span | None = None
        self._torn: Span | None = None
        self._signing = Signing(valid=(0,) * len(keys))

    def take(self, lines: bytes) -> bool:
        """Take whole lines; return whether all are sound."""
        chain = read_chain(lines, self._before)
        for link in chain.links:
            if what := self._each(link):
                self._fault = Span(self.at + link.start, self.at + link.end, what)
                return False
            self._lines += 1
            self._before = link.hash
            self._sign(link, Span(self.at + link.start, self.at + link.end, ""))
        if chain.fault:
            end = lines.find(b"\n", chain.sound) + 1
            self._fault = Span(self.at + chain.sound, self.at + end, chain.fault)
            return False
        self.at += len(lines)
        return True

    def end(self, rest: bytes) -> None:
        """Take what follows the last line feed."""
        if not rest:
            return
        chain = read_chain(rest, self._before)
        span = Span(self.at, self.at + len(rest), chain.fault)
        # A crash may tear a line anywhere, also before its line feed.
        if chain.torn or not read_chain(rest + b"\n", self._before).fault:
            self._torn = span
        else:
            self._fault = span
        self.at += len(rest)

    def refuse(self, more: int, what: str) -> None:
        """End the reading, because what follows can't be a line."""
        self._fault = Span(self.at, self.at + more, what)

    def reading(self) -> ChainReading:
        size = self._fault.end if self._fault else self.at
        return ChainReading(self._lines, size, self._fault, self._torn, self._signing)

    def _sign(self, link: Link, span: Span) -> None:
        signing = self._signing
        late = self._comes_late(link)
        if link.signature is None:
            if signing.first_signed and not signing.unsigned_again:
                signing = signing._replace(unsigned_again=span._replace(what="a line is not signed, but one before is"))
            if not late and not signing.first_unsigned:
                signing = signing._replace(first_unsigned=span)
        else:
            if not late and not signing.first_signed:
                signing = signing._replace(first_signed=span)
            if not self._keys:
                signing = signing._replace(unchecked=signing.unchecked + 1)
            else:
                signing = self._check(signing, link, span)
        self._signing = signing

    def _check(self, signing: Signing, link: Link, span: Span) -> Signing:
        for index, key in enumerate(self._keys):
            if link.is_signed_by(key):
                valid = signing.valid
                return signing._replace(valid=(*valid[:index], valid[index] + 1, *valid[index + 1 :]))
        if signing.foreign:
            return signing
        return signing._replace(foreign=span._replace(what="a line is signed by none of the given keys"))
