"""Chains: append-only files of JSON lines in which no line can be changed, removed or added unnoticed. Pure.

Seals, the ledger of retention and the journal of the archive are chains. Each line ends with ``hash``, the SHA-256 of
the hash of the line before, a line feed, and the line's own fields as JSON. So the last hash stands for all lines. With
a key each line also has a ``signature``, which is ed25519 over the hash. Without a key a chain shows accidents and
careless hands, but anybody who may write can also write a new chain.

A line has exactly one spelling: the compact JSON that :func:`encode` writes. Any other byte is damage. A line that a
crash tore has no line feed at its end.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from courier.audit.regular_file import open_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNED: Final = b"courier chain 1\n"
"""What precedes the hash in the bytes that are signed, so that no signature of another program fits."""


UNENDED: Final = "its last line feed is missing or changed"
"""The fault of a chain whose last line has no end, but isn't just the beginning of one."""


class Link(NamedTuple):
    """A line of a chain: where it begins and ends in its file, its fields, its hash, and its signature or ``None``."""

    start: int
    end: int
    fields: Mapping[str, Any]
    hash: str
    signature: bytes | None

    def is_signed_by(self, *keys: Ed25519PublicKey) -> bool:
        """Return whether one of the keys has signed the line."""
        return self.signature is not None and any(_verifies(key, self.signature, self.hash) for key in keys)


class Chain(NamedTuple):
    """The lines of a chain up to the first that doesn't fit, and why that one doesn't.

    ``fault`` is empty if all fit. ``sound`` is the offset after the last line that fits. ``torn`` is true if what
    follows is a line without an end, as a crash leaves one.
    """

    links: list[Link]
    sound: int
    fault: str
    torn: bool

    @property
    def is_cut(self) -> bool:
        """Whether it ends in the middle of a line, as a crash or a full disk may leave it, and has no other fault."""
        return self.torn or self.fault == UNENDED


def encode(before: str, fields: Mapping[str, Any], key: Ed25519PrivateKey | None = None) -> tuple[bytes, str]:
    """Return the next line of a chain, with its line feed, and its hash.

    ``before`` is the hash of the line before, or what the chain begins with. ``fields`` are JSON values.
    """
    digest = _hash(before, fields)
    whole = {**fields, "hash": digest}
    if key is not None:
        whole["signature"] = b64encode(key.sign(SIGNED + digest.encode())).decode()
    return orjson.dumps(whole, None, orjson.OPT_APPEND_NEWLINE), digest


def read_chain(data: bytes, begins_with: str | None = "") -> Chain:
    """Return the lines of a chain. ``begins_with`` is the hash before its first line; ``None``: its field ``previous``.

    A last line that is complete but for its line feed counts as cut, not as torn. So does one with another byte in the
    place of its line feed.
    """
    links: list[Link] = []
    start = 0
    before = begins_with
    while start < len(data):
        newline = data.find(b"\n", start)
        end = newline + 1 or len(data)
        link = _link(data[start:end].removesuffix(b"\n"), start, end, before)
        if newline < 0:
            torn = isinstance(link, str) and _can_go_on(data[start:end], before)
            return Chain(links, start, "its last line has no end" if torn else UNENDED, torn)
        if isinstance(link, str):
            return Chain(links, start, link, False)
        links.append(link)
        before = link.hash
        start = end
    return Chain(links, start, "", False)


def _can_go_on(raw: bytes, before: str | None) -> bool:
    """Return whether a line without an end may be the beginning of one."""
    whole = raw[: raw.rfind(b"}") + 1]
    return raw[:1] == b"{" and isinstance(_link(whole, 0, len(whole), before), str)


def _link(raw: bytes, start: int, end: int, before: str | None) -> Link | str:
    """Return a line as a link, or why it is none."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "a line is not JSON"
    if not isinstance(fields, dict) or orjson.dumps(fields) != raw:
        return "a line is not as Courier writes it"
    own = {name: value for name, value in fields.items() if name not in ("hash", "signature")}
    first = fields.get("previous") if before is None else before
    digest = fields.get("hash")
    if not isinstance(first, str) or digest != _hash(first, own):
        return "a line does not fit its hash"
    try:
        signature = b64decode(fields["signature"], validate=True) if "signature" in fields else None
    except (ValueError, TypeError):
        return "a line has no valid signature"
    expected = [*own, "hash"] + ["signature"] * (signature is not None)
    if list(fields) != expected or (signature is not None and b64encode(signature).decode() != fields["signature"]):
        return "a line is not as Courier writes it"
    return Link(start, end, own, digest, signature)


def _hash(before: str, fields: Mapping[str, Any]) -> str:
    return sha256(before.encode() + b"\n" + orjson.dumps(dict(fields))).hexdigest()


def _verifies(key: Ed25519PublicKey, signature: bytes, digest: str) -> bool:
    # Imported here, because it takes 30 ms, and most programs have no key.
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, SIGNED + digest.encode())
    except InvalidSignature:
        return False
    return True


def read_chain_file(path: Path, begins_with: str | None = "") -> Chain:
    """Return the lines of a chain in a file, none if it is missing; raise OSError if it can't be read."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return Chain([], 0, "", False)
    with os.fdopen(fd, "rb") as file:
        return read_chain(file.read(), begins_with)
