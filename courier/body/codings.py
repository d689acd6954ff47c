"""Codings of a body, undone piece by piece: base64, gzip and zstd. Pure.

However large a decoded body is, no more than a piece of each coding is in memory at a time.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, Protocol, TypeAlias

from courier.audit.zstd import zstd
from courier.body.names import BASE64, GZIP, ZSTD

PIECE_BYTES: Final = 128 * 1024
"""The most bytes that a coding yields at once."""

INPUT_BYTES: Final = 16 * 1024
"""The most bytes that a coding reads at once: what is behind the end of a member is copied for each member."""

SMALL_BYTES: Final = 1024
MOST_SMALL: Final = 1000
"""The most members, or frames, that hold fewer bytes: each costs as much time as a large one."""

WINDOW_LOG: Final = 27
"""The largest window of zstd that is accepted, 128 MiB, as the command ``zstd`` does. Memory is used as it fills."""

_WHITE: Final = b" \t\r\n"
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_GZIP_MAGIC: Final = (b"\x1f\x8b",)
_ZSTD_MAGIC: Final = (b"\x28\xb5\x2f\xfd", *(bytes((low, 0x2A, 0x4D, 0x18)) for low in range(0x50, 0x60)))
"""The first bytes of a frame, and those of frames that are skipped (RFC 8878, 3.1)."""

_MAGIC_BYTES: Final = 4

Pieces: TypeAlias = Iterator[bytes]


class Undecodable(Exception):
    """Raised where a body isn't what its coding says; the text says why."""


class TooLarge(Exception):
    """Raised where a decoded body is larger than is allowed."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def decoded(pieces: Iterable[bytes], codings: Iterable[str], most_bytes: int) -> Pieces:
    """Yield a body without its codings, which are undone in order; raise Undecodable or TooLarge.

    Before its last coding is undone a body may have twice as many bytes as behind it, since it may be base64.
    """
    made = iter(pieces)
    for coding in codings:
        made = _capped(DECODERS[coding](made), 2 * most_bytes)
    return _capped(made, most_bytes)


def _capped(pieces: Pieces, most_bytes: int) -> Pieces:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > most_bytes:
            raise TooLarge
        yield piece


def _base64(pieces: Pieces) -> Pieces:
    """Undo base64 (RFC 4648) of either alphabet; blanks and line ends between, and missing padding, are accepted."""
    rest = b""
    ended = False
    for part in _cut(pieces):
        text = rest + part.translate(_URL_SAFE, _WHITE)
        if ended and text:
            raise Undecodable("there is something behind the base64")
        whole = len(text) // 4 * 4
        rest = text[whole:]
        if whole:
            yield _plain(text[:whole])
            ended = text[whole - 1 : whole] == b"="
    if rest:
        yield _plain(rest + b"=" * (-len(rest) % 4))


def _plain(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise Undecodable(f"it isn't base64: {str(error).lower()}") from None


def _gzip(pieces: Pieces) -> Pieces:
    """Undo gzip (RFC 1952), of one member or several. Zeros behind the last one are accepted, as by the command."""
    return _members(_binary(pieces, _GZIP_MAGIC), GZIP, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), zlib.error)


def _zstd(pieces: Pieces) -> Pieces:
    """Undo zstd (RFC 8878), of one frame or several."""
    options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}

    def frame() -> Any:
        return zstd.ZstdDecompressor(options=options)

    return _members(_binary(pieces, _ZSTD_MAGIC), ZSTD, frame, zstd.ZstdError)


def _members(pieces: Pieces, name: str, begin: Callable[[], _Decompressor], error: type[Exception]) -> Pieces:
    """Undo a compression: members one after another."""
    member: _Decompressor | None = None
    is_over = False
    size = small = 0
    for data in _cut(pieces):
        while data:
            if member is None:
                if is_over and name == GZIP and not data.strip(b"\0"):
                    break
                member, size = begin(), 0
            try:
                for made in _decompress(member, data):
                    size += len(made)
                    yield made
            except error as why:
                raise Undecodable(f"it isn't {name}: {why}") from None
            data = b""
            if member.eof:
                data, member, is_over = member.unused_data, None, True
                small += size < SMALL_BYTES
                if small > MOST_SMALL:
                    raise Undecodable(f"the {name} has more than {MOST_SMALL} members of less than {SMALL_BYTES} bytes")
    if member is not None or not is_over:
        raise Undecodable(f"the {name} ends too early")


def _decompress(member: _Decompressor, data: bytes) -> Pieces:
    """Yield all that a member makes of some data."""
    made = member.decompress(data, PIECE_BYTES)
    while made:
        yield made
        if member.eof or _needs_input(member):
            return
        made = member.decompress(getattr(member, "unconsumed_tail", b""), PIECE_BYTES)


def _needs_input(member: Any) -> bool:
    """Return whether a decompressor has made all that it can; zlib's and zstd's say it differently."""
    return member.needs_input if hasattr(member, "needs_input") else False


def _binary(pieces: Pieces, magic: tuple[bytes, ...]) -> Pieces:
    """Undo the base64 that a binary format has in the body of a message: SQS takes no other bytes than text."""
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= _MAGIC_BYTES:
            break
    whole = chain((first,), pieces)
    return whole if first.startswith(magic) else _base64(whole)


def _cut(pieces: Iterable[bytes]) -> Pieces:
    """Yield the same bytes in pieces that aren't too long."""
    for piece in pieces:
        for start in range(0, len(piece), INPUT_BYTES):
            yield piece[start : start + INPUT_BYTES]


DECODERS: Final[Mapping[str, Callable[[Pieces], Pieces]]] = {BASE64: _base64, GZIP: _gzip, ZSTD: _zstd}
"""The codings of :data:`courier.body.names.CODINGS`."""
