"""The limits of SQS and Firehose that a queue meets as it grows, each with its source. Read on 2026-11-26."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

QUOTAS: Final = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"
QUEUE_QUOTAS: Final = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html"
FIREHOSE_QUOTAS: Final = "https://docs.aws.amazon.com/firehose/latest/dev/limits.html"


class Limit(NamedTuple):
    """A limit: its name, its value, what happens beyond it, and where AWS says so."""

    name: str
    value: float
    beyond: str
    source: str


BATCH: Final = 10
"""Messages of a receive or a delete at most."""

IN_FLIGHT: Final = Limit(
    "messages in flight in a queue", 120_000, "long polls bring nothing until messages are deleted", QUEUE_QUOTAS
)
FIFO_CALLS: Final = Limit(
    "calls of one action a second to a FIFO queue, or to a partition of it", 300, "ThrottlingException", QUOTAS
)
FIREHOSE_CALLS: Final = Limit("calls of PutRecordBatch a second to a stream", 2000, "throttled", FIREHOSE_QUOTAS)
FIREHOSE_BYTES: Final = Limit("bytes a second to a stream", 5 * 1024**2, "throttled", FIREHOSE_QUOTAS)
FIREHOSE_RECORD: Final = 1000 * 1024
"""Bytes of a record at most."""

HIGH_THROUGHPUT: Final = {
    "us-east-1": 70_000,
    "us-west-2": 70_000,
    "eu-west-1": 70_000,
    "us-east-2": 19_000,
    "eu-central-1": 19_000,
    "ap-south-1": 9_000,
    "ap-southeast-1": 9_000,
    "ap-southeast-2": 9_000,
    "ap-northeast-1": 9_000,
    "eu-west-2": 4_500,
    "sa-east-1": 4_500,
}
"""Calls of one action a second to a FIFO queue in high-throughput mode, by region (the same page)."""

HIGH_THROUGHPUT_ELSEWHERE: Final = 2_400

STANDARD, FIFO, FIFO_HIGH = "standard", "fifo", "fifo-high"
QUEUE_TYPES: Final = (STANDARD, FIFO, FIFO_HIGH)


def calls_a_second(queue_type: str, region: str) -> float:
    """Return how many calls of one action a queue takes a second; infinite for a standard queue."""
    if queue_type == STANDARD:
        return math.inf
    if queue_type == FIFO:
        return FIFO_CALLS.value
    return float(HIGH_THROUGHPUT.get(region, HIGH_THROUGHPUT_ELSEWHERE))
