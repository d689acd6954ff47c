"""The rows of the table, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from scripts.faults.catalogue import (
    acts,
    audits,
    clocks,
    disks,
    duties,
    firehose,
    instances,
    processes,
    queues,
    recipients,
    sqs,
)
from scripts.faults.fault import Row

ROWS: Final[tuple[Row, ...]] = (
    *processes.ROWS,
    *acts.ROWS,
    *duties.ROWS,
    *disks.ROWS,
    *audits.ROWS,
    *firehose.ROWS,
    *sqs.ROWS,
    *recipients.ROWS,
    *clocks.ROWS,
    *instances.ROWS,
    *queues.ROWS,
)
"""All rows."""
