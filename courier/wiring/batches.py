"""The side of batches: from a Config to what a sender needs to send several messages in a request."""

from __future__ import annotations

from typing import Final

from courier.config.config import Config
from courier.recipient.policy import AnswerRules
from courier.request.head import DEFAULT_TYPE, OFF, HeadStyle
from courier.request.header_sets import NONE
from courier.request.lambda_event import MOST_EVENT_BYTES, EventSource
from courier.sender.options import BatchOptions
from courier.sqs.queue import QueueInfo

ANSWER_BYTES: Final = MOST_EVENT_BYTES
"""The largest answer of a function; one that is cut off can't be read."""

JSON: Final = "application/json"


def batch_options(config: Config, queue: QueueInfo) -> BatchOptions | None:
    """Return the options of batches, ``None`` if each message has a request of its own."""
    if not config.is_batched:
        return None
    return BatchOptions(
        config.batch_size,
        config.batch_wait_seconds,
        config.concurrency,
        EventSource(queue.arn, queue.region),
        config.batch_item_failures,
    )


def slots_per_sender(config: Config) -> int:
    """Return how many messages a sender may have in flight: --concurrency counts requests."""
    return config.concurrency * config.batch_size if config.is_batched else config.concurrency


def answer_rules(config: Config) -> AnswerRules:
    """Return what each status means. The status of a batch says nothing of one message, so it rejects none."""
    return config.rules._replace(reject=frozenset()) if config.is_batched else config.rules


def batch_style(config: Config, most_bytes: int) -> HeadStyle:
    """Return the style of the head of a batch, which has no header of a single message."""
    content_type = JSON if config.content_type == DEFAULT_TYPE else config.content_type
    return HeadStyle(NONE, config.header, OFF, content_type, "", most_bytes, receipt_in_body=True)
