"""The program under test: where it runs, and how Courier starts there."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from scripts.faults.instance import ROLES, Instance, ProgramFailed

__all__ = ["ROLES", "Adapter", "CourierAdapter", "Instance", "ProgramFailed", "Setting", "aws_environment"]

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Setting:
    """Where a program runs: from ``queue_url`` at the SQS of ``sqs_url`` to ``recipient_url``.

    ``directory`` is for its logs and its audit log. An instance that starts again in the same one is the successor of
    the one before. ``options`` and ``environment`` come last, so they win over what the adapter chooses; a program
    without options ignores them.
    """

    queue_url: str
    sqs_url: str
    region: str
    recipient_url: str
    directory: Path
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def audit(self) -> Path:
        """The directory of the audit log, if the program keeps one."""
        return self.directory / "audit"


class Adapter(Protocol):
    """A program that takes messages from SQS to HTTP. ``audits``: it keeps an audit log at :attr:`Setting.audit`."""

    @property
    def name(self) -> str:
        """The name in tables and of logs."""
        ...

    @property
    def audits(self) -> bool:
        """Whether it keeps an audit log."""
        ...

    def start(self, setting: Setting) -> Instance:
        """Start it; it may not be ready yet."""
        ...


@dataclass(frozen=True)
class CourierAdapter:
    """Courier, or another ``module`` that runs it with ``arguments`` of its own, on the interpreter ``python``."""

    module: str = "courier"
    arguments: tuple[str, ...] = ()
    python: str = sys.executable
    name: str = "courier"
    audits: bool = True

    def start(self, setting: Setting) -> Instance:
        """Start it with every default but the API, which would need a port of its own."""
        command = (self.python, "-m", self.module, *self.arguments, *setting.options)
        environment = aws_environment(setting) | {
            "COURIER_QUEUE": setting.queue_url,
            "COURIER_RECIPIENT_URL": setting.recipient_url,
            "COURIER_ENDPOINT_URL": setting.sqs_url,
            "COURIER_AUDIT_PATH": str(setting.audit),
            "COURIER_API": "none",
            **setting.environment,
        }
        return Instance(self.name, command, environment, setting.directory)


def aws_environment(setting: Setting) -> dict[str, str]:
    """Return this process's variables with the test's credentials, and without other settings of AWS and Courier."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}
    path = os.pathsep.join(filter(None, (str(ROOT), variables.get("PYTHONPATH"))))
    return variables | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": setting.region,
        "AWS_REGION": setting.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": path,
    }
