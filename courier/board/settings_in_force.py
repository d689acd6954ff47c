"""The settings that a reload has changed, for whoever shows settings: the supervisor writes them into its notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from courier.process.notes import TEXT_BYTES
from courier.process.scoreboard import Scoreboard

PLACES: Final = range(1, 11)
"""The places of the changes among the supervisor's notes; the pause has the one before."""

MOST_CHARACTERS: Final = 200
"""Maximum characters of a value. A longer one is cut, as a list of statuses may be."""


def write_changes(board: Scoreboard, changes: Iterable[Mapping[str, Any]]) -> None:
    """Write the settings that differ from those of the start, instead of those of an earlier reload.

    A change has the fields of :class:`courier.config.sources.Setting` and its field in the configuration, ``name``.
    Changes that don't fit any more are left out.
    """
    texts = [b""]
    for change in changes:
        text = orjson.dumps({**change, "value": change["value"][:MOST_CHARACTERS]})
        if len(text) > TEXT_BYTES:
            # Its source is a file with a very long name.
            continue
        if len(texts[-1]) + 1 + len(text) > TEXT_BYTES:
            texts.append(b"")
        texts[-1] += b"\n" * bool(texts[-1]) + text
    texts += [b""] * len(PLACES)
    for place, text in zip(PLACES, texts, strict=False):
        board.supervisor.notes.write(place, text)


def read_changes(board: Scoreboard) -> dict[str, Mapping[str, Any]]:
    """Return the settings that a reload has changed, by option."""
    texts = [board.supervisor.notes.read(place) or b"" for place in PLACES]
    changes: list[Mapping[str, Any]] = [orjson.loads(line) for text in texts for line in text.splitlines()]
    return {change["option"]: change for change in changes}
