"""An S3 server in memory that fails as it is told to: it refuses, throttles, cuts, stalls, and loses its answers.

It has what an archive needs: objects with checksums and conditional writes, uploads in parts, and lists. The tests of
uploads run on it and on moto's server alike. It checks neither credentials nor signatures.
"""

from __future__ import annotations

import re
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

# What a request may meet. After LOSE and LATE the request has been carried out.
PASS: Final = "pass"
FAIL: Final = "fail"
THROTTLE: Final = "throttle"
DENY: Final = "deny"
SKEW: Final = "skew"
CUT: Final = "cut"
LOSE: Final = "lose"
STALL: Final = "stall"
TEAR: Final = "tear"
"""Half of the answer's body comes."""

TRICKLE: Final = "trickle"
"""The answer's body comes byte by byte, and never ends."""

ODD: Final = "odd"
"""A refusal that says nothing of other objects."""

FAULTS: Final = (FAIL, THROTTLE, DENY, SKEW, CUT, LOSE)

_XML: Final = re.compile(r"[\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
"""The characters of a key that XML can hold."""

_REFUSALS: Final[Mapping[str, tuple[int, str]]] = {
    FAIL: (500, "InternalError"),
    THROTTLE: (503, "SlowDown"),
    DENY: (403, "AccessDenied"),
    SKEW: (403, "RequestTimeTooSkewed"),
    ODD: (400, "InvalidRequest"),
}


@dataclass
class Kept:
    """An object, or a part of one."""

    content: bytes
    checksum: str
    etag: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FaultyS3:
    """The state of the server. ``choose`` decides what a request meets, by its method and its path with query."""

    url: str = ""
    bucket: str = "archive"
    choose: Callable[[str, str], str] = lambda _method, _path: PASS
    conditional: bool = True
    checksums: bool = True
    objects: dict[str, Kept] = field(default_factory=dict)
    uploads: dict[str, dict[int, Kept]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    overwritten: list[str] = field(default_factory=list)
    locked: set[str] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Forget everything."""
        fresh = FaultyS3()
        with self.lock:
            self.choose, self.conditional, self.checksums = fresh.choose, True, True
            self.objects, self.uploads, self.seen, self.overwritten = {}, {}, [], []
            self.locked = set()

    def contents(self) -> dict[str, bytes]:
        """Return the content of each object by its key."""
        with self.lock:
            return {key: kept.content for key, kept in self.objects.items()}


def kept(content: bytes, headers: Mapping[str, str] | None = None) -> Kept:
    """Return a content as an object that came in one piece."""
    tag = md5(content, usedforsecurity=False).hexdigest()
    return Kept(content, b64encode(sha256(content).digest()).decode(), tag, dict(headers or {}))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    is_torn = trickles = False

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        s3 = self.server.s3
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with s3.lock:
            s3.seen.append((self.command, self.path))
            met = s3.choose(self.command, self.path)
        if met == CUT:
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 0)))
            self._hang_up()
            return
        if met == STALL:
            s3.released.wait(60)
            self._hang_up()
            return
        body = self._body()
        if met in _REFUSALS:
            self._refuse(*_REFUSALS[met])
            return
        with s3.lock:
            answer = self._carry_out(s3, body)
        if met == LOSE:
            self._hang_up()
        else:
            self.is_torn, self.trickles = met == TEAR, met == TRICKLE
            answer()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 (names of http.server)

    def _carry_out(self, s3: FaultyS3, body: bytes) -> Callable[[], None]:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        if bucket != s3.bucket:
            return lambda: self._refuse(404, "NoSuchBucket")
        if not key and self.command == "POST" and "delete" in query:
            return self._remove_many(s3, body)
        if not key:
            return lambda: self._list(s3, query.get("prefix", [""])[0]) if self.command == "GET" else self._answer(200)
        if self.command in ("GET", "HEAD"):
            return lambda: self._read(s3.objects.get(key))
        if self.command == "DELETE":
            if "uploadId" in query:
                s3.uploads.pop(query["uploadId"][0], None)
            elif key in s3.locked:
                return lambda: self._refuse(403, "AccessDenied")
            else:
                s3.objects.pop(key, None)
            return lambda: self._answer(204)
        if self.command == "POST" and "uploads" in query:
            name = f"upload-{len(s3.seen)}"
            s3.uploads[name] = {}
            return lambda: self._answer(200, f"<R><UploadId>{name}</UploadId></R>".encode())
        if "partNumber" in query:
            part = kept(body)
            upload = s3.uploads.get(query["uploadId"][0])
            if upload is None:
                return lambda: self._refuse(404, "NoSuchUpload")
            upload[int(query["partNumber"][0])] = part
            return lambda: self._answer(200, headers={"ETag": f'"{part.etag}"', "x-amz-checksum-sha256": part.checksum})
        if self.command == "POST":
            uploaded = s3.uploads.get(query["uploadId"][0])
            if uploaded is None:
                return lambda: self._refuse(404, "NoSuchUpload")
            made = _joined([part for _, part in sorted(uploaded.items())])
        else:
            wanted = self.headers.get("x-amz-checksum-sha256") or self.trailers.get("x-amz-checksum-sha256")
            made = kept(body, {k.lower(): v for k, v in self.headers.items() if k.lower().startswith("x-amz-meta")})
            if wanted and wanted != made.checksum:
                return lambda: self._refuse(400, "BadDigest")
        if refusal := self._unmet(s3, s3.objects.get(key)):
            return lambda: self._refuse(*refusal)
        if self.command == "POST":
            del s3.uploads[query["uploadId"][0]]
        if key in s3.objects and s3.objects[key].content != made.content:
            s3.overwritten.append(key)
        s3.objects[key] = made
        if self.command == "POST":
            return lambda: self._answer(200, f"<R><ETag>{made.etag}</ETag></R>".encode())
        return lambda: self._answer(200, headers={"ETag": f'"{made.etag}"'})

    def _remove_many(self, s3: FaultyS3, body: bytes) -> Callable[[], None]:
        keys = [unescape(key) for key in re.findall(r"<Key>([^<]*)</Key>", body.decode())]
        if not all(_XML.fullmatch(key) for key in keys) or len(keys) > 1000:
            return lambda: self._refuse(400, "MalformedXML")
        errors = ""
        for key in keys:
            if key in s3.locked:
                errors += f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code><Message>as told</Message></Error>"
            else:
                s3.objects.pop(key, None)
        return lambda: self._answer(200, f"<DeleteResult>{errors}</DeleteResult>".encode())

    def _unmet(self, s3: FaultyS3, there: Kept | None) -> tuple[int, str] | None:
        none_match, match = self.headers.get("If-None-Match"), self.headers.get("If-Match")
        if (none_match or match) and not s3.conditional:
            return 501, "NotImplemented"
        if none_match and there is not None:
            return 412, "PreconditionFailed"
        if match and (there is None or match.strip('"') != there.etag):
            return 412, "PreconditionFailed"
        return None

    def _read(self, kept: Kept | None) -> None:
        if kept is None:
            self._refuse(404, "NoSuchKey")
            return
        content, status = kept.content, 200
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or ""):
            content, status = content[int(found[1]) : int(found[2]) + 1], 206
        headers = {"ETag": f'"{kept.etag}"', **kept.headers}
        if status == 200 and self.server.s3.checksums and self.headers.get("x-amz-checksum-mode"):
            headers["x-amz-checksum-sha256"] = kept.checksum
        self._answer(status, content, headers)

    def _list(self, s3: FaultyS3, prefix: str) -> None:
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(kept.content)}</Size></Contents>"
            for key, kept in sorted(s3.objects.items())
            if key.startswith(prefix)
        )
        self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.trailers: dict[str, str] = {}
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return body
        content, rest = b"", body
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size.partition(b";")[0], 16)
            if not length:
                break
            content, rest = content + rest[:length], rest[length + 2 :]
        for line in rest.split(b"\r\n"):
            name, _, value = line.decode().partition(":")
            self.trailers[name.strip().lower()] = value.strip()
        return content

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode())

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.trickles:
            for byte in body:
                if self.server.s3.released.wait(0.02):
                    break
                self.wfile.write(bytes([byte]))
            self._hang_up()
        elif self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.is_torn else body)
        if self.is_torn:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _joined(parts: list[Kept]) -> Kept:
    digests = b"".join(sha256(part.content).digest() for part in parts)
    tags = b"".join(bytes.fromhex(part.etag) for part in parts)
    checksum = f"{b64encode(sha256(digests).digest()).decode()}-{len(parts)}"
    tag = f"{md5(tags, usedforsecurity=False).hexdigest()}-{len(parts)}"
    return Kept(b"".join(part.content for part in parts), checksum, tag)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, s3: FaultyS3) -> None:
        self.s3 = s3
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about clients that have gone."""


@contextmanager
def faulty_s3() -> Iterator[FaultyS3]:
    """Serve an empty bucket on loopback."""
    s3 = FaultyS3()
    server = _Server(s3)
    s3.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        s3.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
