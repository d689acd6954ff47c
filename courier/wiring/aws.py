"""The side of AWS: the keys that sign calls, and the clients of queues."""

from __future__ import annotations

from collections.abc import Callable

from courier.config.loading import environment
from courier.local.embedded import LOCAL_REGION
from courier.process.life import Life
from courier.sqs.client import SqsClient
from courier.sqs.configuration import AwsConfiguration
from courier.sqs.credentials import LOCAL_KEYS, CredentialSource, local_keys
from courier.sqs.discovery import aws_configuration
from courier.sqs.queue import QueueInfo
from courier.sqs.role import AssumedRole

KeySource = Callable[[], CredentialSource]
"""Makes the source of the keys of one process."""


def key_source(queue: QueueInfo) -> KeySource:
    """Return what makes the source of the keys that sign the calls for a queue."""
    if queue.region == LOCAL_REGION:
        return lambda: CredentialSource(local_keys, queue.region, at_hand=LOCAL_KEYS)
    aws = configured_aws(queue.role)
    return lambda: CredentialSource(aws.find_keys, queue.region, at_hand=aws.keys_at_hand)


def configured_aws(role: AssumedRole | None = None) -> AwsConfiguration:
    """Return the configuration of AWS, for calls with the keys of ``role`` if there is one.

    Call it before the fork if the program uses AWS.
    """
    return aws_configuration(environment(), role)


def sqs_client(
    life: Life,
    queue: QueueInfo,
    keys: KeySource,
    on_call: Callable[[str, str | None], None],
    *,
    receives: bool = False,
    keeps_system: bool = False,
) -> SqsClient:
    """Return a client of the queue for this process, with separate credentials."""
    return SqsClient(life.loop, queue, keys(), receives=receives, keeps_system=keeps_system, on_call=on_call)
