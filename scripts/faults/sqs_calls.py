"""The suite's own client of an SQS server: with Courier's client, a mistake of that client could hide itself."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any, Final
from urllib.parse import urlsplit

REGION: Final = "us-east-1"
TIMEOUT_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 2.0
"""A connection that was idle for longer is replaced: its server may have closed it, and a send is never repeated."""

# None of the servers checks a signature; some take the region from it.
AUTHORIZATION: Final = (
    f"AWS4-HMAC-SHA256 Credential=faults/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"
)


class CallRefused(Exception):
    """An SQS server refused a call, or an entry of it: the line has the action, the error and its detail."""


class SqsCalls:
    """Makes calls to one server, from any thread: each has a connection of its own.

    A call raises CallRefused for an answer that is an error, and OSError or HTTPException if there is no answer. It is
    never made again: a send whose answer was lost may have left a message that nobody knows of.
    """

    def __init__(self, server_url: str) -> None:
        self._address = urlsplit(server_url).netloc
        self._threads = threading.local()

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Make a call and return its answer."""
        connection = self._connection()
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Authorization": AUTHORIZATION,
        }
        try:
            connection.request("POST", "/", json.dumps(parameters, ensure_ascii=False).encode(), headers)
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        self._threads.used = time.monotonic()
        if response.status != 200:
            raise CallRefused(f"{action}: {response.status} {content[:500].decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(content) if content else {}
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        kept: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if kept is None:
            kept = self._threads.connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        elif time.monotonic() - self._threads.used > IDLE_SECONDS:
            kept.close()
        return kept
