"""Why a message isn't sent although the recipient was never asked: by its own content, or by what it points to. Pure.

The first kind is a rejection: another attempt would end in the same way. The second is a retry, because what the
message needs may be there again later. Neither says anything about the recipient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNDECODABLE: Final = "body not decodable"
TOO_LARGE: Final = "body too large"

UNSENDABLE: Final[Mapping[str, str]] = {
    UNDECODABLE: "the body isn't encoded as configured; correct the producer or the options, then send it again",
    TOO_LARGE: "raise the cap if such bodies are intended, then send it again",
}
"""The reasons that the message itself causes, and what to do about each."""

NOT_FETCHED: Final[Mapping[str, str]] = {}
"""The reasons why something that a message needs could not be fetched, and what to do about each."""
