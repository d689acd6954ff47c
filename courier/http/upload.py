"""A body on its way from a file to a connection: a piece whenever the transport has room, and none in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from courier.http.file_body import FileBody


class Upload:
    """Writes a body in pieces. At most a piece, and what the transport buffers, is in memory at any time.

    ``position`` is where the next piece begins.
    """

    __slots__ = (
        "_body",
        "_is_ended",
        "_is_paused",
        "_is_planned",
        "_loop",
        "_on_error",
        "_unsent",
        "_write",
        "position",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        body: FileBody,
        write: Callable[[bytes], None],
        unsent: Callable[[], int],
        on_error: Callable[[OSError], None],
    ) -> None:
        """``write`` takes a piece, ``unsent`` returns how many bytes of earlier ones the transport still has.

        ``on_error`` is called if the file can't be read, never from inside :meth:`start`.
        """
        self.position = 0
        self._loop = loop
        self._body = body
        self._write = write
        self._unsent = unsent
        self._on_error = on_error
        self._is_paused = self._is_planned = self._is_ended = False

    def start(self) -> None:
        """Write the first piece on the next turn of the loop."""
        self._plan()

    def pause(self) -> None:
        """Write nothing: the transport has more than it should hold."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on."""
        self._is_paused = False
        self._plan()

    def stop(self) -> None:
        """Write nothing more."""
        self._is_ended = True

    def unsent(self) -> int:
        """Return the bytes that the kernel doesn't have yet."""
        return len(self._body) - self.position + self._unsent()

    def _plan(self) -> None:
        # A piece a turn: a recipient that reads as fast as the file is read must not hold the loop up.
        if not (self._is_planned or self._is_paused or self._is_ended):
            self._is_planned = True
            self._loop.call_soon(self._write_piece)

    def _write_piece(self) -> None:
        self._is_planned = False
        if self._is_paused or self._is_ended:
            return
        try:
            piece = self._body.read(self.position)
        except OSError as error:
            self._is_ended = True
            self._on_error(error)
            return
        self.position += len(piece)
        self._is_ended = self.position == len(self._body)
        self._write(piece)
        self._plan()
