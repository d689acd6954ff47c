"""The queues of one virtual SQS: created, found, listed, changed and deleted by region and name."""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from courier.local.virtual.account import ACCOUNT, EVERYWHERE
from courier.local.virtual.errors import (
    INVALID_ATTRIBUTE_NAME,
    INVALID_ATTRIBUTE_VALUE,
    QUEUE_NAME_EXISTS,
    ServiceError,
    invalid_parameter,
    queue_does_not_exist,
)
from courier.local.virtual.fifo import VirtualFifoQueue
from courier.local.virtual.policies import BY_QUEUE, read_allow_policy, read_redrive_policy, redrive_document
from courier.local.virtual.queue import Redrive, VirtualQueue
from courier.local.virtual.settings import (
    DEFAULTS,
    FIFO_DEFAULTS,
    check_attributes,
    check_name,
    read_settings,
)

EXCLUSIVE_ENCRYPTION: Final = (
    "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
)
LIMIT_WITHOUT_SCOPE: Final = (
    "Invalid value for the parameter FifoThroughputLimit. Reason: The perMessageGroupId value is allowed only when the "
    "value for DeduplicationScope is messageGroup."
)
DEFAULT_REUSE_PERIOD: Final = "300"
MAX_REGIONS_NAMED: Final = 3
NO_TAGS: Final[Mapping[str, str]] = {}


class Registry:
    """The queues by region and name, with the attributes that each was given.

    A region has the queues that were created in it, and those of ``EVERYWHERE``.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str], VirtualQueue] = {}
        self._attributes: dict[VirtualQueue, dict[str, str]] = {}
        self._names: dict[str, list[str]] = {}
        self._missed: set[tuple[str, str]] = set()

    def __iter__(self) -> Iterator[VirtualQueue]:
        """Iterate over the queues of all regions."""
        return iter(self._queues.values())

    def create(
        self,
        name: str,
        given: Mapping[str, Any],
        now: float,
        region: str = EVERYWHERE,
        tags: Mapping[str, str] = NO_TAGS,
    ) -> VirtualQueue:
        """Create a queue, or return the existing one of that name if it has the same attributes.

        Raise ServiceError if the name or an attribute is invalid, or if the queue exists with other attributes.
        """
        fifo = str(given.get("FifoQueue", "")).lower() == "true"
        checked = check_attributes(given, fifo=fifo)
        check_name(name, fifo=fifo)
        existing = self._get(name, region)
        if existing is not None:
            self._require_same(existing, given, checked, region)
            return existing
        attributes = _merged(FIFO_DEFAULTS if fifo else DEFAULTS, checked)
        queue_type = VirtualFifoQueue if fifo else VirtualQueue
        queue = queue_type(name, region, read_settings(attributes), now)
        attributes.pop("RedrivePolicy", None)
        queue.redrive = self._redrive(queue, given, region)
        queue.tags = dict(tags)
        self._queues[region, name] = queue
        self._attributes[queue] = attributes
        bisect.insort(self._names.setdefault(region, []), name)
        self._adopt_sources(queue)
        return queue

    def change(self, queue: VirtualQueue, given: Mapping[str, Any], now: float, region: str = EVERYWHERE) -> None:
        """Set attributes of a queue. Raise ServiceError if one is invalid; then none is set."""
        if queue.fifo and str(given.get("FifoQueue", "true")).lower() != "true":
            detail = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
            raise ServiceError(INVALID_ATTRIBUTE_VALUE, detail)
        checked = check_attributes(given, fifo=queue.fifo)
        attributes = _merged(self._attributes[queue], checked)
        attributes.pop("RedrivePolicy", None)
        if "RedrivePolicy" in checked:
            queue.redrive = self._redrive(queue, given, region)
        self._attributes[queue] = attributes
        queue.modified = now
        # SQS accepts a new deduplication scope and shows it, but has been observed to go on with the old one.
        scope = queue.settings.deduplicates_per_group
        queue.apply(read_settings(attributes)._replace(deduplicates_per_group=scope))

    def attributes(self, queue: VirtualQueue, region: str = EVERYWHERE) -> Mapping[str, str]:
        """Return the given attributes of a queue, and the defaults of the others, as a client in a region sees them."""
        attributes = self._attributes[queue]
        if queue.redrive is None:
            return attributes
        policy = redrive_document(queue.redrive.target.arn_in(region), queue.redrive.max_receives)
        return {**attributes, "RedrivePolicy": policy}

    def find(self, name: str, region: str = EVERYWHERE) -> VirtualQueue:
        """Return the queue of a name. Raise ServiceError if there is none."""
        queue = self._get(name, region)
        if queue is None:
            elsewhere = [each for each, other in self._queues if other == name]
            raise queue_does_not_exist(sorted(elsewhere)[:MAX_REGIONS_NAMED])
        return queue

    def at(self, url: str, region: str = EVERYWHERE) -> VirtualQueue:
        """Return the queue of a URL, whatever its host: the client may know the server by another name.

        SQS has been observed to take a name in place of the URL.
        """
        parts = url.rsplit("/", 2)
        if len(parts) > 1 and parts[-2] != ACCOUNT:
            raise queue_does_not_exist()
        return self.find(parts[-1], region)

    def named_by(self, arn: str) -> VirtualQueue | None:
        """Return the queue that an ARN names; ``None`` if there is none."""
        parts = arn.split(":", 5)
        if len(parts) < 6 or parts[2] != "sqs" or parts[4] != ACCOUNT:
            return None
        return self._get(parts[5], parts[3])

    def current(self, queue: VirtualQueue) -> VirtualQueue | None:
        """Return the queue that now has the region and name of a queue that may have been deleted."""
        return self._queues.get((queue.region, queue.name))

    def delete(self, queue: VirtualQueue) -> None:
        """Delete a queue and all its messages."""
        queue.deleted = True
        queue.purge()
        key = queue.region, queue.name
        del self._queues[key]
        del self._attributes[queue]
        self._names[queue.region].remove(queue.name)
        if any(_is_source(source, queue) for source in self._queues.values()):
            self._missed.add(key)

    def names(self, prefix: str, after: str, limit: int, region: str = EVERYWHERE) -> list[str]:
        """Return up to ``limit`` names that begin with ``prefix``, sorted, after the name ``after``."""
        own = self._names_from(region, prefix, after)
        if region != EVERYWHERE:
            own = heapq.merge(own, self._names_from(EVERYWHERE, prefix, after))
        return list(itertools.islice((name for name, _ in itertools.groupby(own)), limit))

    def sources(self, target: VirtualQueue, region: str = EVERYWHERE) -> list[VirtualQueue]:
        """Return the queues whose redrive policy names ``target``, sorted by name."""
        visible = (queue for queue in self._queues.values() if queue.region in (region, EVERYWHERE))
        return sorted((queue for queue in visible if _is_source(queue, target)), key=lambda queue: queue.name)

    def _get(self, name: str, region: str) -> VirtualQueue | None:
        return self._queues.get((region, name)) or self._queues.get((EVERYWHERE, name))

    def _names_from(self, region: str, prefix: str, after: str) -> Iterable[str]:
        names = self._names.get(region, [])
        first = max(bisect.bisect_left(names, prefix), bisect.bisect_right(names, after) if after else 0)
        return itertools.takewhile(lambda name: name.startswith(prefix), itertools.islice(names, first, None))

    def _require_same(
        self, queue: VirtualQueue, given: Mapping[str, Any], checked: Mapping[str, str], region: str
    ) -> None:
        existing = self._attributes[queue]
        wanted = _merged(existing, checked)
        for attribute in checked:
            if attribute == "RedrivePolicy":
                same = self._redrive(queue, given, region) == queue.redrive
            else:
                same = wanted.get(attribute) == existing.get(attribute)
            if not same:
                detail = "A queue already exists with the same name and a different value for attribute " + attribute
                raise ServiceError(QUEUE_NAME_EXISTS, detail)

    def _redrive(self, queue: VirtualQueue, given: Mapping[str, Any], region: str) -> Redrive | None:
        document = given.get("RedrivePolicy")
        if not document:
            return None
        policy = read_redrive_policy(document)
        target = self.named_by(policy.target_arn)
        if target is None or EVERYWHERE != target.region != region:
            raise invalid_parameter("RedrivePolicy", document, "Dead letter target does not exist.")
        if target.fifo is not queue.fifo:
            reason = "Dead-letter queue must be same type of queue as the source."
            raise invalid_parameter("RedrivePolicy", document, reason)
        if not self._allows(target, queue, region):
            reason = "The RedriveAllowPolicy of the dead-letter queue does not allow this source queue."
            raise invalid_parameter("RedrivePolicy", document, reason)
        return Redrive(target, policy.max_receives)

    def _allows(self, target: VirtualQueue, source: VirtualQueue, region: str) -> bool:
        document = self._attributes[target].get("RedriveAllowPolicy")
        if document is None:
            return True
        policy = read_allow_policy(document)
        return policy.permission == "allowAll" or (
            policy.permission == BY_QUEUE and source.arn_in(region) in policy.sources
        )

    def _adopt_sources(self, target: VirtualQueue) -> None:
        """Let a queue take the place of a deleted one, which redrive policies still name."""
        key = target.region, target.name
        if key not in self._missed:
            return
        self._missed.remove(key)
        for queue in self._queues.values():
            redrive = queue.redrive
            if redrive is not None and redrive.target.deleted and (redrive.target.region, redrive.target.name) == key:
                queue.redrive = Redrive(target, redrive.max_receives)


def _is_source(queue: VirtualQueue, target: VirtualQueue) -> bool:
    return queue.redrive is not None and queue.redrive.target is target


def _merged(before: Mapping[str, str], checked: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes updated with the checked ones; an empty value removes one.

    Raise ServiceError if some of them exclude each other.
    """
    if checked.get("KmsMasterKeyId") and checked.get("SqsManagedSseEnabled") == "true":
        raise ServiceError(INVALID_ATTRIBUTE_NAME, EXCLUSIVE_ENCRYPTION)
    merged = {name: value for name, value in {**before, **checked}.items() if value}
    if checked.get("KmsMasterKeyId"):
        merged["SqsManagedSseEnabled"] = "false"
    if "KmsMasterKeyId" in merged:
        merged.setdefault("KmsDataKeyReusePeriodSeconds", DEFAULT_REUSE_PERIOD)
    elif merged.get("KmsDataKeyReusePeriodSeconds") == DEFAULT_REUSE_PERIOD:
        del merged["KmsDataKeyReusePeriodSeconds"]
    if merged.get("FifoThroughputLimit") == "perMessageGroupId" and merged.get("DeduplicationScope") != "messageGroup":
        raise ServiceError(INVALID_ATTRIBUTE_VALUE, LIMIT_WITHOUT_SCOPE)
    return merged
