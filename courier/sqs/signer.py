"""Signature Version 4 for the JSON calls of SQS, with all constant parts computed beforehand.

The rules are AWS's "Create a signed AWS API request". A call costs two SHA-256 and one HMAC: the signing key is valid
for a day, and only the time and the hash of the body change in the canonical request. The tests compare the results
with those of botocore's signer.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Final, NamedTuple
from urllib.parse import quote

import courier
from courier.http.proxy import Proxy
from courier.http.url import Url

CONTENT_TYPE: Final = "application/x-amz-json-1.0"

ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Keys(NamedTuple):
    """The credentials of a call; ``token`` is the session token of temporary credentials, else empty."""

    access_key: str
    secret_key: str
    token: str = ""


class _Parts(NamedTuple):
    """The parts around date and hash that all calls of one action with the same keys share."""

    canonical_before_date: str
    canonical_after_date: str
    head_before_date: str
    head_after_date: str


class SigV4Signer:
    """Signs the heads of calls to one endpoint. It belongs to one event loop and isn't thread-safe.

    Heads for an http endpoint behind a ``proxy`` name the whole URL, and what the proxy alone reads.
    """

    def __init__(self, url: Url, region: str, proxy: Proxy | None = None) -> None:
        self._url = url
        forwarded = proxy is not None and url.scheme == "http"
        self._target = url.text if forwarded else url.path
        self._proxy_lines = proxy.header_lines if forwarded and proxy is not None else ""
        self._region = region
        self._canonical_path = canonical_path(url.path)
        self._keys: Keys | None = None
        self._parts: dict[str, _Parts] = {}
        self._second = -1
        self._stamp = ""
        self._day = ""
        self._scope = ""
        self._signing_key = b""
        self._last: dict[str, tuple[bytes, bytes]] = {}

    def head(self, keys: Keys, action: str, body: bytes, now: float) -> bytes:
        """Return the whole signed head of a POST of ``body``; ``now`` is the time in Unix seconds."""
        if keys is not self._keys:
            self._take(keys)
        second = int(now)
        if second != self._second:
            self._tick(keys, second)
        last = self._last.get(action)
        if last is not None and last[0] is body:
            # A signature holds for its second, so the same call in the same second has the same head.
            return last[1]
        parts = self._parts.get(action)
        if parts is None:
            parts = self._parts[action] = self._prepare(keys, action)
        stamp = self._stamp
        digest = hashlib.sha256(body).hexdigest()
        canonical = f"{parts.canonical_before_date}{stamp}{parts.canonical_after_date}{digest}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{stamp}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._signing_key, to_sign.encode(), "sha256").hex()
        head = (
            f"{parts.head_before_date}{stamp}\r\n"
            f"Authorization: {ALGORITHM} Credential={keys.access_key}/{self._scope}, "
            f"{parts.head_after_date}{signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        self._last[action] = body, head
        return head

    def _take(self, keys: Keys) -> None:
        self._keys = keys
        self._parts.clear()
        self._second = -1
        self._day = ""

    def _tick(self, keys: Keys, second: int) -> None:
        self._second = second
        self._last.clear()
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = self._stamp[:8]
        if day != self._day:
            self._day = day
            self._scope = f"{day}/{self._region}/sqs/aws4_request"
            key = f"AWS4{keys.secret_key}".encode()
            for part in (day, self._region, "sqs", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signing_key = key

    def _prepare(self, keys: Keys, action: str) -> _Parts:
        token_line = f"x-amz-security-token:{keys.token}\n" if keys.token else ""
        token_name = "x-amz-security-token;" if keys.token else ""
        token_header = f"X-Amz-Security-Token: {keys.token}\r\n" if keys.token else ""
        names = f"content-type;host;x-amz-date;{token_name}x-amz-target;x-amzn-query-mode"
        host = self._url.host_header
        return _Parts(
            f"POST\n{self._canonical_path}\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:",
            f"\n{token_line}x-amz-target:AmazonSQS.{action}\nx-amzn-query-mode:true\n\n{names}\n",
            f"POST {self._target} HTTP/1.1\r\nHost: {host}\r\n{self._proxy_lines}Content-Type: {CONTENT_TYPE}\r\n"
            f"User-Agent: courier/{courier.__version__}\r\nX-Amz-Target: AmazonSQS.{action}\r\n"
            # Like every AWS SDK, asks for the older error codes beside the new ones.
            f"X-Amzn-Query-Mode: true\r\n{token_header}X-Amz-Date: ",
            f"SignedHeaders={names}, Signature=",
        )


def canonical_path(path: str) -> str:
    """Return the path to sign: dot segments and empty segments resolved, then percent-encoded once more."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment and segment != ".":
            segments.append(segment)
    trailing = "/" if path.endswith("/") and segments else ""
    return quote("/" + "/".join(segments) + trailing, safe="/~")
