"""What is known of a queue: its address and its attributes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from courier.http.proxy import Proxy
from courier.http.url import Url
from courier.message import MOST_MESSAGE_BYTES
from courier.sqs.role import AssumedRole


class QueueDepth(NamedTuple):
    """The number of messages in a queue that wait, are delayed, and are hidden because somebody received them.

    SQS counts approximately.
    """

    waiting: int
    delayed: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue and its attributes.

    ``endpoint`` is where the calls go. It needn't be the host of ``url``: an emulator in a container knows itself by
    another name. ``visibility_timeout`` is the queue's own, in seconds. ``max_receive_count`` and ``dead_letter`` (an
    ARN) are those of its redrive policy, ``None`` without one. ``maximum_message_size`` is in bytes; it is the limit of
    SQS if the queue has no such attribute, as with some emulators. ``ca_bundle`` is the file of certificates that boto3
    is configured to trust, if any.
    ``queue_arn`` is its ARN, empty if the server names none. ``proxy`` is what the calls go through, if anything;
    ``role`` is assumed for them, if any.
    """

    url: str
    name: str
    region: str
    endpoint: Url
    fifo: bool
    visibility_timeout: int
    max_receive_count: int | None = None
    dead_letter: str | None = None
    maximum_message_size: int = MOST_MESSAGE_BYTES
    ca_bundle: str | None = None
    queue_arn: str = ""
    proxy: Proxy | None = None
    role: AssumedRole | None = None

    @property
    def arn(self) -> str:
        """The ARN of the queue, made of its URL if the server names none."""
        if self.queue_arn:
            return self.queue_arn
        # https://sqs.REGION.amazonaws.com/ACCOUNT/NAME
        account = self.url.rpartition("/")[0].rpartition("/")[2]
        return f"arn:aws:sqs:{self.region}:{account if account.isdigit() else '000000000000'}:{self.name}"

    @property
    def dead_letter_name(self) -> str:
        """The name of its dead-letter queue, empty without one."""
        return (self.dead_letter or "").rpartition(":")[2]

    def to_json(self) -> bytes:
        """Return it as JSON: the preflight passes it on to the roles so."""
        return orjson.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> QueueInfo:
        """Return the queue that :meth:`to_json` wrote."""
        fields = orjson.loads(text)
        proxy = Proxy(**fields["proxy"]) if fields["proxy"] else None
        role = AssumedRole(**fields["role"]) if fields["role"] else None
        return cls(**{**fields, "endpoint": Url(**fields["endpoint"]), "proxy": proxy, "role": role})
