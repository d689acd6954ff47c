"""The queues of one virtual SQS: created, found, listed, changed and deleted by name."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import Any, Final

from courier.local.virtual.account import ACCOUNT
from courier.local.virtual.errors import (
    INVALID_ATTRIBUTE_NAME,
    INVALID_ATTRIBUTE_VALUE,
    QUEUE_NAME_EXISTS,
    ServiceError,
    invalid_parameter,
    queue_does_not_exist,
)
from courier.local.virtual.fifo import VirtualFifoQueue
from courier.local.virtual.queue import Redrive, VirtualQueue
from courier.local.virtual.settings import (
    DEFAULTS,
    FIFO_DEFAULTS,
    check_attributes,
    check_name,
    read_redrive_policy,
    read_settings,
)

EXCLUSIVE_ENCRYPTION: Final = (
    "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
)


class Registry:
    """The queues by name, with the attributes that each was given."""

    def __init__(self) -> None:
        self._queues: dict[str, VirtualQueue] = {}
        self._attributes: dict[str, dict[str, str]] = {}
        self._names: list[str] = []

    def create(self, name: str, given: Mapping[str, Any], now: float) -> VirtualQueue:
        """Create a queue, or return the existing one of that name if it has the same attributes.

        Raise ServiceError if the name or an attribute is invalid, or if the queue exists with other attributes.
        """
        fifo = given.get("FifoQueue") == "true"
        checked = check_attributes(given, fifo=fifo)
        check_name(name, fifo=fifo)
        existing = self._queues.get(name)
        if existing is not None:
            self._require_same(name, checked)
            return existing
        attributes = _merged(FIFO_DEFAULTS if fifo else DEFAULTS, checked)
        redrive = self._redrive(attributes.get("RedrivePolicy", ""), fifo)
        queue_type = VirtualFifoQueue if fifo else VirtualQueue
        queue = queue_type(name, self.arn(name), read_settings(attributes), now)
        queue.redrive = redrive
        self._queues[name] = queue
        self._attributes[name] = attributes
        bisect.insort(self._names, name)
        return queue

    def change(self, queue: VirtualQueue, given: Mapping[str, Any], now: float) -> None:
        """Set attributes of a queue. Raise ServiceError if one is invalid; then none is set."""
        if queue.fifo and given.get("FifoQueue", "true") != "true":
            detail = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
            raise ServiceError(INVALID_ATTRIBUTE_VALUE, detail)
        attributes = _merged(self._attributes[queue.name], check_attributes(given, fifo=queue.fifo))
        redrive = self._redrive(attributes.get("RedrivePolicy", ""), queue.fifo)
        self._attributes[queue.name] = attributes
        queue.redrive = redrive
        queue.modified = now
        queue.apply(read_settings(attributes))

    def attributes(self, queue: VirtualQueue) -> Mapping[str, str]:
        """Return the given attributes of a queue, and the defaults of the others."""
        return self._attributes[queue.name]

    def find(self, name: str) -> VirtualQueue:
        """Return the queue of a name. Raise ServiceError if there is none."""
        queue = self._queues.get(name)
        if queue is None:
            raise queue_does_not_exist()
        return queue

    def at(self, url: str) -> VirtualQueue:
        """Return the queue of a URL, whatever its host: the client may know the server by another name."""
        parts = url.rsplit("/", 2)
        if len(parts) < 2 or parts[-2] != ACCOUNT:
            raise queue_does_not_exist()
        return self.find(parts[-1])

    def delete(self, queue: VirtualQueue) -> None:
        """Delete a queue and all its messages."""
        queue.deleted = True
        queue.purge()
        del self._queues[queue.name]
        del self._attributes[queue.name]
        self._names.remove(queue.name)

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return up to ``limit`` names that begin with ``prefix``, sorted, after the name ``after``."""
        first = max(bisect.bisect_left(self._names, prefix), bisect.bisect_right(self._names, after) if after else 0)
        listed = []
        for name in self._names[first : first + limit]:
            if not name.startswith(prefix):
                break
            listed.append(name)
        return listed

    def sources(self, target: VirtualQueue) -> list[str]:
        """Return the names of the queues whose redrive policy names ``target``, sorted."""
        queues = (self._queues[name] for name in self._names)
        return [queue.name for queue in queues if queue.redrive is not None and queue.redrive.target is target]

    def arn(self, name: str) -> str:
        """Return the ARN of the queue of a name."""
        return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"

    def _require_same(self, name: str, checked: Mapping[str, str]) -> None:
        existing = self._attributes[name]
        for attribute, value in checked.items():
            if existing.get(attribute, "") != value:
                detail = "A queue already exists with the same name and a different value for attribute " + attribute
                raise ServiceError(QUEUE_NAME_EXISTS, detail)

    def _redrive(self, document: str, fifo: bool) -> Redrive | None:
        if not document:
            return None
        policy = read_redrive_policy(document)
        # Any region is accepted: the queue has none, and a handwritten policy has its author's.
        account, name = policy.target_arn.split(":")[4:]
        target = self._queues.get(name)
        if target is None or account != ACCOUNT:
            raise invalid_parameter("RedrivePolicy", document, "Dead letter target does not exist.")
        if target.fifo is not fifo:
            reason = "Dead-letter queue must be same type of queue as the source."
            raise invalid_parameter("RedrivePolicy", document, reason)
        return Redrive(target, policy.max_receives)


def _merged(before: Mapping[str, str], checked: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes updated with the checked ones; an empty value removes one."""
    if checked.get("KmsMasterKeyId") and checked.get("SqsManagedSseEnabled") == "true":
        raise ServiceError(INVALID_ATTRIBUTE_NAME, EXCLUSIVE_ENCRYPTION)
    merged = {**before, **checked}
    if checked.get("KmsMasterKeyId"):
        merged["SqsManagedSseEnabled"] = "false"
    return {name: value for name, value in merged.items() if value}
