"""The step that undoes the codings of a body: those that the message names, or those that the operator does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Final

from courier.body.codings import TooLarge, Undecodable, decoded
from courier.body.names import CODINGS, GZIP, MOST_CODINGS
from courier.http.answer import CANCELLED, Failure
from courier.http.file_body import FileBody
from courier.http.spool import Spool
from courier.message import Message
from courier.recipient.content import NO_ROOM, NO_ROOM_SECONDS, TOO_LARGE, UNDECODABLE
from courier.request.content import Content, Made, Pending
from courier.request.threads import InThread, Threads

INLINE_BYTES: Final = 16 * 1024
INLINE_RESULT_BYTES: Final = 256 * 1024
"""The most bytes before and behind the decoding that the loop of a sender does itself: more is for a thread."""

MOST_THREADS: Final = 2
"""Threads of a sender that decode. They share the sender's core."""

_IDENTITY: Final = "identity"
_OTHER_NAMES: Final = {"x-gzip": GZIP}


def codings_of(message: Message, attribute: str) -> Sequence[str] | Failure:
    """Return the codings that an attribute names, in the order of undoing them.

    As Content-Encoding does (RFC 9110, 8.4), it names them in the order in which they were applied.
    """
    named = next((each.value for each in message.attributes if each.name == attribute), "")
    codings = [_OTHER_NAMES.get(word, word) for part in named.split(",") if (word := part.strip().lower())]
    codings = [coding for coding in codings if coding != _IDENTITY]
    if len(codings) > MOST_CODINGS:
        return Failure(UNDECODABLE, f"{attribute} names {len(codings)} codings; at most {MOST_CODINGS} are undone", 0.0)
    for coding in codings:
        if coding not in CODINGS:
            known = ", ".join(CODINGS)
            return Failure(UNDECODABLE, f"{attribute} names {coding[:40]!r}; {known} can be undone", 0.0)
    return codings[::-1]


class Decode:
    """The step. ``codings`` are undone in order; without them, those that ``attribute`` of each message names."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, codings: Sequence[str], attribute: str, most_bytes: int
    ) -> None:
        """A decoded body of more than ``most_bytes`` is refused."""
        self._codings = codings
        self._attribute = attribute
        self._most_bytes = most_bytes
        self._threads = Threads(loop, MOST_THREADS, "decode")

    def __call__(self, content: Content, done: Callable[[Made], None]) -> Made | Pending:
        """Undo the codings of a message; what takes long is done in a thread."""
        codings = self._codings or codings_of(content.message, self._attribute)
        if isinstance(codings, Failure):
            return codings
        if not codings:
            return content
        if len(content.body) <= INLINE_BYTES:
            made = self._decode(content, codings, min(self._most_bytes, INLINE_RESULT_BYTES))
            is_too_large = isinstance(made, Failure) and made.reason == TOO_LARGE
            if self._most_bytes <= INLINE_RESULT_BYTES or not is_too_large:
                return made
        return self._threads.start(lambda thread: self._decode(content, codings, self._most_bytes, thread), done)

    def _decode(
        self, content: Content, codings: Sequence[str], most_bytes: int, thread: InThread | None = None
    ) -> Made:
        message = content.message
        pieces: Iterable[bytes] = (message.body,) if content.file is None else content.file.pieces()
        with closing(Spool()) as spool:
            try:
                for piece in decoded(pieces, codings, most_bytes):
                    if thread is not None and thread.is_cancelled:
                        return Failure(CANCELLED, "given up while it was decoded", 0.0)
                    spool.write(piece)
                body = spool.body()
            except Undecodable as error:
                return Failure(UNDECODABLE, str(error), 0.0)
            except TooLarge:
                return Failure(TOO_LARGE, f"the decoded body has more than --body-max-bytes ({most_bytes})", 0.0)
            except OSError as error:
                detail = f"the decoded body can't be kept in a temporary file: {error.strerror or error}"
                return Failure(NO_ROOM, detail, 0.0, NO_ROOM_SECONDS)
        # The recipient would undo the codings once more.
        others = tuple(attribute for attribute in message.attributes if attribute.name != self._attribute)
        file = body if isinstance(body, FileBody) else None
        kept = body if isinstance(body, bytes) else b""
        return content._replace(message=message._replace(body=kept, attributes=others), file=file)
