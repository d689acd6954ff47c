"""Calls of SQS and their answers, as a gate passes them on."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

import orjson

RECEIVE: Final = "ReceiveMessage"
DELETES: Final = frozenset({"DeleteMessage", "DeleteMessageBatch"})
SENDS: Final = frozenset({"SendMessage", "SendMessageBatch"})
BATCHES: Final = frozenset({"ChangeMessageVisibilityBatch", "DeleteMessageBatch", "SendMessageBatch"})
RECEIPT_ACTIONS: Final = DELETES | {"ChangeMessageVisibility", "ChangeMessageVisibilityBatch"}

HOP_BY_HOP: Final = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})
"""Headers that belong to one connection: the gate writes its own."""

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Call:
    """A request of a program. ``parameters`` are empty unless it speaks the JSON protocol."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    keep_alive: bool = True
    action: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.headers:
            if name.lower() == b"x-amz-target":
                self.action = value.decode("latin-1").removeprefix("AmazonSQS.")
        if self.action:
            self.parameters = as_object(self.body)
        else:
            self.action = parse_qs(self.body.decode("latin-1")).get("Action", [""])[0]

    @property
    def queue_url(self) -> str:
        """The queue that it names."""
        return str(self.parameters.get("QueueUrl", ""))

    @property
    def token(self) -> str:
        """The session token of the temporary credentials that it is signed with."""
        values = (value for name, value in self.headers if name.lower() == b"x-amz-security-token")
        return next(values, b"").decode("latin-1")

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of a batch; those of a single call are the call itself."""
        entries = self.parameters.get("Entries", []) if self.action in BATCHES else [self.parameters]
        return [entry for entry in entries if isinstance(entry, dict)]

    def change(self, **parameters: object) -> None:
        """Change parameters on the way to SQS."""
        self.parameters |= parameters
        self.body = orjson.dumps(self.parameters)

    def render(self) -> bytes:
        """Return the request that SQS gets."""
        return _render(b"%b %b HTTP/1.1\r\n" % (self.method, self.target), self.headers, self.body)


@dataclass(slots=True)
class Answer:
    """An answer for a program."""

    JSON: ClassVar = (b"Content-Type", b"application/x-amz-json-1.0")

    status: int
    headers: Headers
    body: bytes

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Answer:
        """Return a success."""
        return cls(200, [cls.JSON], orjson.dumps(fields))

    def fields(self) -> dict[str, Any]:
        """Return the fields of a success; nothing from an error or another protocol."""
        return as_object(self.body) if self.status == 200 else {}

    def succeeded(self, call: Call) -> set[str]:
        """Return the ids of the entries that SQS accepted; that of a single call is ``""``."""
        if call.action not in BATCHES:
            return {""} if self.status == 200 else set()
        return {str(entry["Id"]) for entry in self.fields().get("Successful", [])}

    def render(self, keep_alive: bool = True) -> bytes:
        """Return the bytes that the program gets."""
        try:
            phrase = HTTPStatus(self.status).phrase.encode("ascii")
        except ValueError:
            phrase = b""
        headers = self.headers if keep_alive else [*self.headers, (b"Connection", b"close")]
        return _render(b"HTTP/1.1 %d %b\r\n" % (self.status, phrase), headers, self.body)


def as_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one from anything else."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _render(first_line: bytes, headers: Headers, body: bytes) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (first_line, b"".join(lines), len(body), body)
