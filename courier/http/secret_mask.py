"""The masking of Courier's own secrets in answers: a recipient may repeat what Courier sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, unquote

MASK: Final = b"***"
LEAST_CHARACTERS: Final = 6
"""The length of the shortest value that is masked: shorter ones occur everywhere, and aren't secrets."""

_QUOTES: Final = str.maketrans({'"': "&quot;", "'": "&#x27;"})
_SEPARATOR: Final = re.compile(r"[&;=]")


class Mask:
    """Replaces secrets by ``***``, also in base64 and in the escaped forms of JSON, HTML and URLs.

    ``longest`` is the length in bytes of the longest form of a secret; 0 without secrets.
    """

    __slots__ = ("_more", "_pattern", "longest")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= LEAST_CHARACTERS for form in _forms(secret)}
        # The longest first: if a part of a secret is a secret too, masking it first would show the rest.
        alternatives = sorted((form.encode() for form in forms), key=len, reverse=True)
        self.longest = len(alternatives[0]) if alternatives else 0
        self._pattern = re.compile(b"|".join(map(re.escape, alternatives))) if alternatives else None
        self._more: Sequence[bytes] = ()

    def plus(self, secret: str) -> Mask:
        """Return a mask that hides one more secret. It is cheap to make, for a secret of one message."""
        if len(secret) < LEAST_CHARACTERS:
            return self
        mask = Mask()
        mask._pattern = self._pattern
        mask._more = (*self._more, *sorted((form.encode() for form in _forms(secret)), key=len, reverse=True))
        mask.longest = max(self.longest, *map(len, mask._more))
        return mask

    def __call__(self, data: bytes) -> bytes:
        """Return bytes without the secrets."""
        for form in self._more:
            data = data.replace(form, MASK)
        return data if self._pattern is None else self._pattern.sub(MASK, data)

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        if self._pattern is None and not self._more:
            return text
        return self(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")


def _forms(secret: str) -> set[str]:
    in_json = json.dumps(secret)[1:-1]
    return {
        secret,
        in_json,
        in_json.replace("/", "\\/"),
        _in_html(secret).translate(_QUOTES),
        _in_html(secret),
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        unquote(secret),
        base64.b64encode(secret.encode()).decode().rstrip("="),
    }


def _in_html(text: str) -> str:
    # As html.escape with quote=False does. The module html has a table of all names of characters, half a megabyte.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def secrets_in_url(path: str) -> Iterable[str]:
    """Yield the parts of a URL's path and query that may be keys: both together, and each longer part."""
    yield path
    before, _, query = path.partition("?")
    yield query
    for part in _SEPARATOR.split(query):
        yield part
    for part in before.split("/"):
        # Shorter ones are words, such as "webhooks", and useful to see.
        if len(part) >= 2 * LEAST_CHARACTERS:
            yield part
