"""The size of a Courier: how many consumers and senders it has."""

from __future__ import annotations

from typing import NamedTuple

from courier.config.processes import ProcessesConfig


class Size(NamedTuple):
    """Numbers of processes."""

    consumers: int
    senders: int

    def __str__(self) -> str:
        return f"{self.consumers} + {self.senders}"

    @property
    def options(self) -> tuple[str, ...]:
        """The options that start so many."""
        return ("--consumers", str(self.consumers), "--senders", str(self.senders))

    @property
    def slots(self) -> int:
        """Deliveries that it has in flight at most, with the default concurrency."""
        return self.senders * ProcessesConfig.concurrency


def sizes(text: str) -> list[Size]:
    """Parse ``1+1,2+4``, as an option's type. Raise ValueError."""
    return [Size(int(consumers), int(senders)) for consumers, senders in (part.split("+") for part in text.split(","))]
