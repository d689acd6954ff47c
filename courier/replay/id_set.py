"""A set of message ids that takes little memory: some 100 bytes an id, whatever its length."""

from __future__ import annotations

from hashlib import blake2b


class IdSet:
    """A set of ids. It keeps 128 bits of each, by which two ids never meet by accident."""

    __slots__ = ("_digests",)

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._digests)

    def __contains__(self, message_id: str) -> bool:
        """Return whether an id is in the set."""
        return _digest(message_id) in self._digests

    def add(self, message_id: str) -> bool:
        """Add an id; return whether it is new."""
        before = len(self._digests)
        self._digests.add(_digest(message_id))
        return len(self._digests) > before


def _digest(message_id: str) -> bytes:
    return blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
