"""The queues that the auditor asks about, and the calls for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from courier.auditor.depth_watch import DepthWatch, WatchedQueue
from courier.board.depths import DEAD_LETTERS, FAILURE, SOURCE
from courier.process.life import Life
from courier.sqs.client import SqsClient
from courier.sqs.queue import QueueDepth, QueueInfo


def depth_watch(
    life: Life, queue: QueueInfo, client: SqsClient, failure_queue: QueueInfo | None, failure_client: SqsClient | None
) -> DepthWatch:
    """Return the auditor's look at the queue, its dead-letter queue and the failure queue, with the auditor's clients.

    A dead-letter queue is in the account and the region of its queue, so the queue's client asks about it.
    """
    queues = [WatchedQueue(SOURCE, queue.name, client.depth)]
    if queue.dead_letter:
        ask = dead_letter_depth(client, queue.dead_letter)
        queues.append(WatchedQueue(DEAD_LETTERS, queue.dead_letter_name, ask))
    if failure_queue is not None and failure_client is not None:
        queues.append(WatchedQueue(FAILURE, failure_queue.name, failure_client.depth))
    return DepthWatch(life, queues)


def dead_letter_depth(client: SqsClient, arn: str) -> Callable[[], Awaitable[QueueDepth]]:
    """Return the call for a queue that is known by its ARN. Its URL is looked up once."""
    *_, account, name = arn.split(":")
    known = ""

    async def ask() -> QueueDepth:
        nonlocal known
        url, known = known or await client.queue_url(name, account), ""
        depth = await client.depth(url)
        # Kept only while it works, because a queue that was made again may have another one.
        known = url
        return depth

    return ask
