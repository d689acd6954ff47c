"""A recipient that takes no liberties: it refuses a head beyond 8 KiB, and notes what isn't HTTP to the letter."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import threading
import zlib
from collections import Counter
from typing import Final

import h11
import uvloop

MOST_HEAD_BYTES: Final = 8192
ALWAYS_TAKEN: Final = 20
"""The first requests are taken whatever they are, so that nobody thinks that everything is refused."""

PATIENCE: Final = 30.0
RESET: Final = struct.pack("ii", 1, 0)


class StrictRecipient:
    """The server, in a thread of its own. One message in ten, by its id, is refused with 422.

    ``taken`` and ``refused`` count requests by the id that ``id_header`` has; ``digests`` has the MD5 of each body.
    """

    def __init__(self, id_header: str = "x-aws-sqsd-msgid", *, refuses: bool = True) -> None:
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.digests: dict[str, str] = {}
        self.faults: list[str] = []
        self.longest_head = 0
        self.omitted = 0
        self.url = ""
        self._id_header = id_header.encode()
        self._refuses = refuses
        self._requests = 0
        self._too_long = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(PATIENCE), "the server did not start"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MOST_HEAD_BYTES)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in"
        self._started.set()
        await self._stopped.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        except Exception as error:
            self.faults.append(repr(error))
            raise
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            self._refuse_head(writer)
            return False
        self.longest_head = max(self.longest_head, len(head))
        try:
            request = _strictly_read(head)
        except (h11.RemoteProtocolError, ValueError) as error:
            self.faults.append(f"{error}: {head[:200]!r}")
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        headers = dict(request.headers)
        body = await reader.readexactly(int(headers[b"content-length"]))
        self.note(bytes(request.target), headers, body)
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % self._answer(headers, body))
        return True

    def note(self, target: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        """Do more with a request, in the loop of the server."""

    def _refuse_head(self, writer: asyncio.StreamWriter) -> None:
        """As Node does for one, and others for the next."""
        self._too_long += 1
        self.faults.append(f"a head of more than {MOST_HEAD_BYTES} bytes")
        if self._too_long % 2:
            writer.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        else:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def _answer(self, headers: dict[bytes, bytes], body: bytes) -> bytes:
        name = headers[self._id_header].decode()
        self._requests += 1
        self.omitted += b"courier-omitted-headers" in headers
        self.digests[name] = hashlib.md5(body).hexdigest()
        if self._refuses and self._requests > ALWAYS_TAKEN and zlib.crc32(name.encode()) % 10 == 0:
            self.refused[name] += 1
            return b"422 Unprocessable Content"
        self.taken[name] += 1
        return b"200 OK"


def _strictly_read(head: bytes) -> h11.Request:
    """Read a head by the letter of RFC 9112. Raises h11.RemoteProtocolError or ValueError."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
    connection.receive_data(head)
    request = connection.next_event()
    if not isinstance(request, h11.Request):
        raise ValueError(f"{request!r} is no request")
    names = Counter(name for name, _ in request.headers)
    for once in (b"host", b"content-length", b"content-type", b"authorization", b"courier-omitted-headers"):
        if names[once] > 1:
            raise ValueError(f"{once.decode()} comes twice")
    if not names[b"content-length"] or names[b"transfer-encoding"] or names[b"connection"]:
        raise ValueError("the framing isn't the client's own")
    return request
