"""Messages of somebody who means harm: envelopes that lie, pointers elsewhere, bombs, paths, and headers that forge.

Whatever they name, a file, a bucket, a host or a path, lies where nothing may be sent and from where nothing may come.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from backports import zstd

from courier.fetch.pointer import CLASSES
from tests.unit.body.messages import TEST_EVENT, TOPIC, envelope, event

MIB: Final = 1 << 20
ALLOWED_BUCKET: Final = "archive"
ALLOWED_PATH: Final = "/jobs"
GOOD_KEY: Final = "good"

BOMBS: Final = (
    ("gzip", base64.b64encode(zlib.compress(bytes(20 * MIB), 9, wbits=31)).decode()),
    ("zstd", base64.b64encode(zstd.compress(bytes(50 * MIB), 19)).decode()),
    ("gzip,gzip", base64.b64encode(gzip.compress(zlib.compress(bytes(50 * MIB), 9, wbits=31))).decode()),
    ("gzip", base64.b64encode(gzip.compress(b"") * 9000).decode()),
    ("zstd", base64.b64encode(zstd.compress(b"") * 9000).decode()),
)
CODINGS: Final = ("gzip", "zstd", "base64", "br", "identity", "gzip,base64", "gzip;q=0", ",", "GZIP ", "gzip," * 9, "é")
PIECES: Final = ("a", "..", ".", "%2e%2e", "%2f", "%2F", "%5c", "\\", "//", "@", "%40", "%00", "%0d%0a", "?", "#", ";",
                 "%", "%zz", "é", " ", "jobs", "http:", "*", "~root", ":80", "$(id)")  # fmt: skip
KEYS: Final = ("../../etc/passwd", "/", "", "a/../b", ".", "%2e%2e/x", "k\r\nX: y", "é" * 600, GOOD_KEY, "?versionId=1")
BUCKETS: Final = ("secrets", "", "..", "archive/../secrets", "archive?", "Archive", "archive.evil.test", "é", "a" * 300)
HEADERS: Final = ("Host", "Content-Length", "Transfer-Encoding", "Connection", "Authorization", "Content-Encoding",
                  "X-Amz-Sns-Topic-Arn", "Courier-Event-Id", "X-Forwarded-For", "traceparent")  # fmt: skip
EVENT: Final = ("ce-datacontenttype", "ce-id", "ce_type", "CE-source", "ce-specversion", "ce-data", "ce-time",
                "ce-host", "ce.type", "ce-a.b", "ce-type", "cloudEvents_subject", "ce-content-length")  # fmt: skip


class HostileBodies:
    """Entries for SendMessage, drawn from a seed. ``canary`` is a URL at which nobody may be seen."""

    def __init__(self, seed: int, canary: str) -> None:
        self._draw = random.Random(seed)
        self._canary = canary
        self._kinds: tuple[Callable[[], str], ...] = (
            self._lying_envelope,
            self._lying_event,
            self._pointer,
            self._nested,
            self._text,
            lambda: TEST_EVENT,
        )

    def entry(self) -> dict[str, Any]:
        """Return the next one."""
        draw = self._draw
        attributes = {}
        if draw.random() < 0.25:
            coding, body = draw.choice(BOMBS)
            attributes["Content-Encoding"] = coding
        else:
            body = draw.choice(self._kinds)()
            if draw.random() < 0.4:
                attributes["Content-Encoding"] = draw.choice(CODINGS)
        if draw.random() < 0.4:
            attributes["beanstalk.sqsd.path"] = self._path()
        if draw.random() < 0.3:
            attributes[draw.choice(HEADERS)] = draw.choice((self._canary, "0", "chunked", "evil.test", TOPIC))
        if draw.random() < 0.3:
            values = ("application/cloudevents+json", self._text(), "é\r\nX: y", "1")
            attributes[draw.choice(EVENT)] = draw.choice(values)
        if draw.random() < 0.2:
            attributes[draw.choice(("ExtendedPayloadSize", "SQSLargePayloadSize"))] = draw.choice(("7", "-1", "9e9"))
        return {
            "MessageBody": body or "x",
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
            },
        }

    def _lying_envelope(self) -> str:
        draw = self._draw
        host = draw.choice((self._canary, "https://sns.us-east-1.amazonaws.com.evil.test", "file:///etc/passwd"))
        fields = envelope(
            self._text(),
            SigningCertURL=f"{host}/SimpleNotificationService-{'0' * 32}.pem",
            SubscribeURL=self._canary,
            UnsubscribeURL=self._canary,
            Token="t",
        )
        fields["Type"] = draw.choice(
            ("Notification",) * 5 + ("SubscriptionConfirmation", "UnsubscribeConfirmation", "x")
        )
        for _ in range(draw.randrange(3)):
            fields[draw.choice(list(fields))] = draw.choice(
                (None, 7, [], {}, "", "\r\nX: y", "\ud800", self._canary, "é", {"a": {"Type": "String", "Value": "é"}})
            )
        fields["MessageAttributes"] = {
            "beanstalk.sqsd.path": {"Type": "String", "Value": self._path()},
            draw.choice(HEADERS): {"Type": "String", "Value": self._canary},
        }
        text = json.dumps(fields)
        return text[:-1] + ', "Message": "twice"}' if draw.random() < 0.1 else text

    def _lying_event(self) -> str:
        detail = self._draw.choice(("7", "[" * 3000, '{"a":' * 3000, '"\\ud800"', json.dumps(self._text())))
        return event(detail, id=self._draw.choice(("i", "\r\nX: y", "é")), source=self._canary)

    def _pointer(self) -> str:
        draw = self._draw
        bucket = draw.choice((ALLOWED_BUCKET, *BUCKETS))
        fields: dict[str, Any] = {"s3BucketName": bucket, "s3Key": draw.choice(KEYS), "endpoint": self._canary}
        if draw.random() < 0.2:
            fields[draw.choice(("s3BucketName", "s3Key"))] = draw.choice((7, None, [], self._canary))
        return json.dumps([draw.choice((*CLASSES, "java.lang.Runtime")), fields])

    def _nested(self) -> str:
        return json.dumps(envelope(self._draw.choice((self._pointer, self._lying_envelope, self._lying_event))()))

    def _text(self) -> str:
        draw = self._draw
        return draw.choice(("plain", self._canary, "{", "H4sIAAAA", "[" * 5000, "é" * 500, draw.choice(BOMBS)[1][:500]))

    def _path(self) -> str:
        draw = self._draw
        path = "/".join(draw.choices(PIECES, k=draw.randrange(1, 5)))
        start = draw.choice((ALLOWED_PATH + "/", ALLOWED_PATH + "/", ALLOWED_PATH, "/", "//", "", self._canary + "/"))
        return start + path


class Canary:
    """A server at which nobody may be seen; ``seen`` counts connections."""

    def __init__(self, listener: socket.socket) -> None:
        self.seen = 0
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def canary() -> Iterator[Canary]:
    """Listen on loopback, and count who comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bird = Canary(listener)

        def count() -> None:
            try:
                while True:
                    listener.accept()[0].close()
                    bird.seen += 1
            except OSError:
                return

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        yield bird
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
