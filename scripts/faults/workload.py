"""The messages of a trial, made from a seed: the same workload is the same messages, byte for byte."""

from __future__ import annotations

import base64
import json
import math
import random
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

MOST_BYTES: Final = 1_048_576
"""The most bytes of a message in SQS: its body, and the names, types and values of its attributes."""

SIZES: Final = {"small": (200, 240), "mixed": (1, 65_536), "large": (MOST_BYTES, MOST_BYTES)}
"""The least and the most bytes of the named sizes. SQS refuses an empty body, so 1 byte stands for none."""

LARGE_EVERY: Final = 250
FIRST_LARGE: Final = 7
"""One in 250 messages of the mixed sizes has 1 MiB, and the eighth is the first, so that a short workload has one."""

MOST_ATTRIBUTES: Final = 10
UNTAGGED_BYTES: Final = 12
"""Bodies of up to so many bytes are random characters: there is no room for a number that makes them distinct."""

PUNCTUATION: Final = string.punctuation
PRINTABLE: Final = string.ascii_letters + string.digits + PUNCTUATION

TEXTS: Final = (
    "héllo wörld, 日本語 テキスト, עברית, 💩👩‍👩‍👧 e\u0301; ",
    "\u2028\u2029\u0085\u007f\u009f\ufeff\u202e\ufffd\U0010ffff\ue000\ud7ff",
    "\r\nX-Injected: yes\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "0\r\n\r\nPOST /in HTTP/1.1\r\n",
    "first line\nsecond line\n\n\ttabbed\r\n",
    '"quoted" \'twice\' \\ \\u0000 \\" `$(true)` ${HOME} %00 %s {0} ',
    '<![CDATA[ <message a="&amp;">]]> &lt; &#0; ',
    "    \t   ",
    "x" * 8192,
)
"""What a body may be made of: legal in SQS, which takes the characters of XML 1.0, and hostile to careless programs."""

NAMES: Final = ("trace_id", "tenant", "Content-Length", "host", "transfer-encoding", "x.y-z_1", "UPPER", "n" * 64)
TYPES: Final = ("String", "String.json", "Number", "Number.int", "Binary", "Binary.png")
NUMBERS: Final = ("0", "-1", "3.14159", "1e10", "99999999999999999999", "007")


@dataclass(frozen=True)
class Workload:
    """What is sent in a trial, and how fast.

    ``rate`` is in messages a second, and None means all at once before the start. ``groups`` is the number of message
    groups, and 0 is for a standard queue. ``sizes`` is a name of :data:`SIZES`, or the least and the most bytes of a
    message, between which sizes are drawn evenly on a logarithmic scale. With ``attributes`` a third of the messages
    has one to ten of them. Without ``beyond_bmp`` no character is beyond the basic multilingual plane.
    With ``alone`` each message is sent once the queue is empty, after a pause of 50 ms to 1 s; ``rate`` is only what
    that comes to. Raises ValueError for sizes that SQS refuses.
    """

    messages: int
    rate: float | None = None
    groups: int = 0
    sizes: str | tuple[int, int] = "small"
    attributes: bool = False
    beyond_bmp: bool = True
    alone: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the sizes."""
        least, most = self.bounds
        if not 1 <= least <= most <= MOST_BYTES:
            raise ValueError(f"sizes {self.sizes!r} are not within 1 to {MOST_BYTES} bytes")

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most bytes of a message."""
        if isinstance(self.sizes, tuple):
            return self.sizes
        if self.sizes not in SIZES:
            raise ValueError(f"sizes {self.sizes!r} are none of {', '.join(SIZES)}")
        return SIZES[self.sizes]


class Message(NamedTuple):
    """A message to send: ``group`` is "" on a standard queue, ``attributes`` are (type, value) by name.

    The value of a binary attribute is base64, as in the JSON protocol of SQS.
    """

    body: str
    group: str
    attributes: Mapping[str, tuple[str, str]]


def messages(workload: Workload) -> Iterator[Message]:
    """Yield the messages of a workload. Bodies are distinct, as far as there are enough of one or two bytes."""
    rng = random.Random(workload.seed)
    least, most = workload.bounds
    taken: set[str] = set()
    for number in range(workload.messages):
        group = _group(rng, workload.groups)
        attributes = _attributes(rng) if workload.attributes and rng.random() < 1 / 3 else _NONE
        size = round(math.exp(rng.uniform(math.log(least), math.log(most))))
        if workload.sizes == "mixed" and number % LARGE_EVERY == FIRST_LARGE:
            size = MOST_BYTES
        size = min(size, MOST_BYTES - _attributes_size(attributes))
        message = Message(_body(rng, number, size, taken), group, attributes)
        yield message if workload.beyond_bmp else _within_bmp(message)


_BEYOND_BMP: Final = re.compile("[\U00010000-\U0010ffff]")
_NONE: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({})


def _within_bmp(message: Message) -> Message:
    """Replace each character beyond the basic multilingual plane by four others, which have as many bytes."""
    attributes = {name: (kind, _BEYOND_BMP.sub("xxxx", value)) for name, (kind, value) in message.attributes.items()}
    return message._replace(body=_BEYOND_BMP.sub("xxxx", message.body), attributes=attributes)


def _group(rng: random.Random, groups: int) -> str:
    """Return the name of a group; those of every fifth have all the punctuation that SQS allows."""
    if not groups:
        return ""
    number = rng.randrange(groups)
    return f"g{number}{PUNCTUATION if number % 5 == 4 else ''}"


def _body(rng: random.Random, number: int, size: int, taken: set[str]) -> str:
    """Return a body of so many bytes in UTF-8."""
    if size <= UNTAGGED_BYTES:
        return _tiny(rng, size, taken)
    kind = _json if rng.random() < 0.7 else _text
    return kind(rng, number, size)


def _tiny(rng: random.Random, size: int, taken: set[str]) -> str:
    for _ in range(20):
        body = "".join(rng.choices(PRINTABLE, k=size))
        if body not in taken:
            break
    taken.add(body)
    return body


def _text(rng: random.Random, number: int, size: int) -> str:
    tag = f"{number} "
    return tag + _filled(rng.choice(TEXTS), size - len(tag))


def _json(rng: random.Random, number: int, size: int) -> str:
    """Return a JSON object; as text where it is too small for one."""
    start, end = f'{{"n": {number}, "random": {rng.randrange(10**9)}, "pad": "', '"}'
    room = size - len(start) - len(end)
    if room < 0:
        return _text(rng, number, size)
    if rng.random() < 0.8:
        return f"{start}{'x' * room}{end}"
    # Escapes of JSON and plain characters beyond ASCII, cut where a character ends.
    piece = json.dumps(rng.choice(TEXTS[:7]), ensure_ascii=rng.random() < 0.5)[1:-1]
    return f"{start}{_filled(piece, room, whole=True)}{end}"


def _filled(piece: str, size: int, *, whole: bool = False) -> str:
    """Repeat a piece up to so many bytes, and fill what is left with ``x``; ``whole`` pieces are never cut."""
    encoded = piece.encode()
    if whole:
        text = piece * (size // len(encoded))
        return text + "x" * (size - len(encoded) * (size // len(encoded)))
    cut = (encoded * (size // len(encoded) + 1))[:size].decode(errors="ignore")
    return cut + "x" * (size - len(cut.encode()))


def _attributes(rng: random.Random) -> Mapping[str, tuple[str, str]]:
    count = rng.randint(1, MOST_ATTRIBUTES)
    names = rng.sample(NAMES, min(count, len(NAMES)))
    names += [f"attribute-{n}" for n in range(count - len(names))]
    return {name: _attribute(rng, rng.choice(TYPES)) for name in names}


def _attribute(rng: random.Random, data_type: str) -> tuple[str, str]:
    if data_type.startswith("Number"):
        return data_type, rng.choice(NUMBERS)
    if data_type.startswith("Binary"):
        return data_type, base64.b64encode(rng.randbytes(rng.randint(1, 100))).decode()
    return data_type, _filled(rng.choice(TEXTS), rng.randint(1, 100))


def size_of(message: Message) -> int:
    """Return the bytes of a message: of its body, and of the names, types and values of its attributes.

    A binary value counts as its base64. SQS charges fewer bytes for it, but not every server does.
    """
    return len(message.body.encode()) + _attributes_size(message.attributes)


def _attributes_size(attributes: Mapping[str, tuple[str, str]]) -> int:
    return sum(
        len(name.encode()) + len(data_type) + len(value.encode()) for name, (data_type, value) in attributes.items()
    )
