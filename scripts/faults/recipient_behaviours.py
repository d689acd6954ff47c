"""What a recipient does to the requests that it gets, as values.

A *clean* answer is whole, well formed and on time: it is credited, and a second delivery of its message is a duplicate.
A *lost* one is partial, malformed or missing: the message has to come again. A program may take an *ambiguous* one
either way, since the protocol or the clock lets it: its message may be settled, and may come again. Unless ``status``
says otherwise an answer is a 200; one of another status is a refusal, whatever else it is.

| kind | what is done | the answer is |
|---|---|---|
| ok | answers at once | clean |
| status | answers ``status``, with Retry-After where ``retry_after`` is given | clean |
| delay | answers after ``seconds`` | clean |
| late | answers after ``seconds`` that are meant to exceed the program's time-out; the connection stays | ambiguous |
| silent | never answers | lost |
| slow-headers | sends a byte of the answer every ``seconds`` (0.05) | clean if it comes to its end |
| slow-body | the head, then a byte of a long body every ``seconds`` (0.05), for ever | lost |
| endless-chunked, endless-length, endless-unframed | a body without end, in chunks, of a tebibyte, without a length | \
ambiguous: a program may stop to read and take the status |
| early | answers after the head, reads the body ``seconds`` (0.2) later | ambiguous if the whole request still comes |
| reset-at | resets after byte n of the answer, with n from 0 to its length in turn | lost, ambiguous at its last byte |
| reset-before-body | resets when it has read the head | lost, and the request isn't recorded unless it was whole |
| close | answers, then closes though it didn't say so | clean |
| unframed | a body that ends with the connection | clean |
| interim | a few 103s, then the answer | ambiguous: not every client knows them |
| interim-flood | 103s without end | lost |
| garbage | bytes that are no HTTP | lost |
| redirect | ``status`` (307) with its own address | clean, and refused |
| huge-header | a header of a mebibyte | ambiguous: a client may have a limit |
| endless-headers | headers without end | lost |
| length-too-long | less body than the Content-Length, then the end | lost |
| length-too-short | more body than the Content-Length | ambiguous: a client may reject what follows |
| extra | a second 200 along with the answer | ambiguous: a client may reject what follows |
| extra-idle | a second 200, ``seconds`` (0.2) later | clean |

After late, length-too-short, extra and extra-idle the connection is *spoiled*: what comes on it later is recorded and
never answered, so that a program that credits a leftover 200 to its next message settles one without a clean answer.
extra-idle allows for a request that crosses the second 200: for a second after it, requests are answered ambiguously.

At the door of a connection, on its first bytes: handshake-reset, handshake-close, handshake-garbage, handshake-silence
(they are never answered) and, over TLS alone, untrusted (the certificate of another authority).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

ANSWERS: Final = (
    "ok",
    "status",
    "delay",
    "late",
    "silent",
    "slow-headers",
    "slow-body",
    "endless-chunked",
    "endless-length",
    "endless-unframed",
    "early",
    "reset-at",
    "reset-before-body",
    "close",
    "unframed",
    "interim",
    "interim-flood",
    "garbage",
    "redirect",
    "huge-header",
    "endless-headers",
    "length-too-long",
    "length-too-short",
    "extra",
    "extra-idle",
)
"""The kinds that happen to a request."""

DOORS: Final = ("handshake-reset", "handshake-close", "handshake-garbage", "handshake-silence", "untrusted")
"""The kinds that happen to a connection."""

_SECONDS: Final = {"slow-headers": 0.05, "slow-body": 0.05, "early": 0.2, "extra-idle": 0.2}


@dataclass(frozen=True)
class Behaviour:
    """What is done to which share of the requests (or connections).

    ``kind`` is one of :data:`ANSWERS` or :data:`DOORS`, ``seconds`` and ``status`` belong to it (0: what the kind has
    by default), ``retry_after`` is in seconds. ``seed`` decides which requests are hit, in order of arrival;
    ``by_message`` says whether a message, by its id, may be hit at all.
    """

    kind: str = "ok"
    share: float = 1.0
    seconds: float = 0.0
    status: int = 0
    retry_after: int | None = None
    seed: int = 0
    by_message: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        """Reject a kind that doesn't exist."""
        if self.kind not in ANSWERS + DOORS:
            raise ValueError(f"no such behaviour: {self.kind}; there are {', '.join(ANSWERS + DOORS)}")

    @property
    def pause(self) -> float:
        """``seconds``, or what the kind has by default."""
        return self.seconds or _SECONDS.get(self.kind, 0.0)

    @property
    def code(self) -> int:
        """``status``, or what the kind has by default."""
        return self.status or (307 if self.kind == "redirect" else 200)


OK: Final = Behaviour()


class Plan:
    """Chooses the behaviour that hits a request: the first whose turn it is. ``plain`` says that all are answered 200.

    ``cut`` counts the answers that were reset, so that each is cut one byte later than the one before. ``hits`` counts
    by kind how often a behaviour was chosen, in the counter that it is given.
    """

    def __init__(self, behaviours: Sequence[Behaviour], hits: Counter[str] | None = None) -> None:
        self.cut = 0
        self.hits: Counter[str] = Counter() if hits is None else hits
        self._answers = [(each, random.Random(each.seed)) for each in behaviours if each.kind in ANSWERS]
        self._doors = [(each, random.Random(each.seed)) for each in behaviours if each.kind in DOORS]
        self.plain = all(each == OK for each, _ in self._answers)
        self.open_door = not self._doors

    def of_request(self, message_id: str) -> Behaviour:
        """Choose for a request."""
        for behaviour, random_numbers in self._answers:
            if behaviour.by_message is not None and not behaviour.by_message(message_id):
                continue
            if random_numbers.random() < behaviour.share:
                self.hits[behaviour.kind] += 1
                return behaviour
        return OK

    def of_connection(self) -> Behaviour | None:
        """Choose for a connection; None lets it in."""
        hit = next((each for each, random_numbers in self._doors if random_numbers.random() < each.share), None)
        if hit is not None:
            self.hits[hit.kind] += 1
        return hit
