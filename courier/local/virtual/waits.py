"""The waits of SQS between some calls, for those who want them: a client has to cope with them on AWS."""

from __future__ import annotations

from typing import Final

from courier.local.virtual.account import EVERYWHERE
from courier.local.virtual.errors import PURGE_QUEUE_IN_PROGRESS, QUEUE_DELETED_RECENTLY, ServiceError
from courier.local.virtual.queue import VirtualQueue

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html
WAIT_SECONDS: Final = 60.0


class Waits:
    """When queues were purged and deleted. ``now`` is the caller's clock in seconds."""

    def __init__(self) -> None:
        self._purged: dict[VirtualQueue, float] = {}
        self._deleted: dict[tuple[str, str], float] = {}

    def purge(self, queue: VirtualQueue, now: float) -> None:
        """Note that a queue is purged. Raise ServiceError if it was within the last minute."""
        if queue in self._purged and now < self._purged[queue] + WAIT_SECONDS:
            detail = f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds."
            raise ServiceError(PURGE_QUEUE_IN_PROGRESS, detail)
        self._purged[queue] = now

    def delete(self, queue: VirtualQueue, now: float) -> None:
        """Note that a queue is deleted."""
        self._purged.pop(queue, None)
        self._deleted[queue.region, queue.name] = now

    def create(self, name: str, region: str, now: float) -> None:
        """Raise ServiceError if a queue of that name was deleted within the last minute."""
        for deleted in [key for key, at in self._deleted.items() if now >= at + WAIT_SECONDS]:
            del self._deleted[deleted]
        if (region, name) in self._deleted or (EVERYWHERE, name) in self._deleted:
            detail = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
            raise ServiceError(QUEUE_DELETED_RECENTLY, detail)
