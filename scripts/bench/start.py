"""The start of a program: the seconds from its exec to its first POST, by the kind of its credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from scripts.bench.pace import send_one
from scripts.bench.programs import Program
from scripts.bench.rig import Rig
from scripts.bench.servers import OwnRecipient
from scripts.bench.trial import Running

_KEYS: Final = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}


def with_static_keys(program: Program, directory: Path) -> Program:
    """Return a program with its keys in its variables."""
    return replace(program, variables={**program.variables, **_KEYS}, without=("AWS_PROFILE", "AWS_SESSION_TOKEN"))


def with_profile(program: Program, directory: Path) -> Program:
    """Return a program with its keys in a profile's file, which is written to a directory."""
    file = directory / "credentials"
    file.write_text("[bench]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in _KEYS.items()))
    variables = {"AWS_PROFILE": "bench", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    return replace(program, variables={**program.variables, **variables}, without=(*_KEYS, "AWS_SESSION_TOKEN"))


STARTS: Final[Mapping[str, Callable[[Program, Path], Program]]] = {"static": with_static_keys, "profile": with_profile}
"""By the name of the figure, what gives a program its credentials."""


def first_post(rig: Rig, recipient: OwnRecipient, program: Program) -> float:
    """Start a program on a queue with one message, and kill it. Return the seconds from its exec to its first POST."""
    queue = rig.queue()
    send_one(queue, 0.0)  # so that its age on arrival is the instant of the arrival
    earlier = int(recipient.tally(ids=False)["requests"])
    with Running(program, queue, recipient.url, rig.directory("start"), stop_seconds=0.0) as running:
        return recipient.wait_for(earlier + 1)[earlier] - running.begun
