"""Envelopes: what SNS and EventBridge put around a message on its way to a queue, taken off. Pure.

SNS's envelope is described in "Amazon SNS message and JSON formats", EventBridge's in "Events" of its user guide. A
body that is none of them stays as it is: with raw message delivery, SNS sends none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from courier.body.json_members import Member, members
from courier.http.answer import Failure
from courier.http.head import header_value
from courier.log.printable import is_encodable
from courier.message import Attribute, Message
from courier.recipient.content import CONFIRMATION, MALFORMED, TEST_EVENT
from courier.request.content import Content, Made

NOTIFICATION: Final = "Notification"
CONFIRMATIONS: Final = ("SubscriptionConfirmation", "UnsubscribeConfirmation")

_MARKS: Final = (b'"TopicArn"', b'"detail-type"', b'"s3:TestEvent"')
"""One of these is in every envelope as AWS writes it. Other bodies needn't be parsed."""

MOST_ATTRIBUTES: Final = 1000
"""The most attributes in SNS's envelope. SNS's own limits are lower, and tens of thousands would hold up the loop."""

_TOPIC: Final = re.compile(r"arn:(aws[a-z-]{0,20}):sns:([a-z0-9-]{1,40}):([0-9]{12}):([A-Za-z0-9_-]{1,256}(?:\.fifo)?)")
_SNS_HEADERS: Final = (
    (b"X-Amz-Sns-Message-Type", "Type"),
    (b"X-Amz-Sns-Message-Id", "MessageId"),
    (b"X-Amz-Sns-Topic-Arn", "TopicArn"),
    (b"X-Amz-Sns-Subject", "Subject"),
)
"""The first three are those of SNS's own deliveries over HTTP."""

_EVENT_HEADERS: Final = (
    (b"Courier-Event-Id", "id"),
    (b"Courier-Event-Source", "source"),
    (b"Courier-Event-Type", "detail-type"),
    (b"Courier-Event-Time", "time"),
)


Header: TypeAlias = tuple[bytes, bytes | None]
"""The name of a header and its value."""


class Notification(NamedTuple):
    """SNS's envelope: all of its members that are texts, by name. ``Type``, ``Message`` and ``TopicArn`` are there."""

    fields: Mapping[str, str]

    @property
    def topic(self) -> str:
        """The ARN of the topic that it claims to come from."""
        return self.fields["TopicArn"]


class Unwrapped(NamedTuple):
    """A message without its envelopes, headers that say what stood on them, and SNS's envelope if there was one.

    A header without a value is one whose value HTTP doesn't allow.
    """

    message: Message
    headers: tuple[Header, ...] = ()
    notification: Notification | None = None


class Topic(NamedTuple):
    """The parts of a topic's ARN."""

    partition: str
    region: str
    account: str
    name: str


def topic(arn: str) -> Topic | None:
    """Return the parts of a topic's ARN, or None if the text is none."""
    found = _TOPIC.fullmatch(arn)
    return Topic(*found.groups()) if found else None


def unwrap(message: Message) -> Unwrapped | Failure:
    """Take SNS's envelope off, and that of EventBridge, which may be within it.

    Return the failure of what isn't for the recipient: a test event of S3, and confirmations of SNS.
    """
    found = _members(message.body)
    if found is None:
        return Unwrapped(message)
    headers: tuple[Header, ...] = ()
    notification = None
    if _is_of_sns(found):
        opened = _open_notification(found)
        if isinstance(opened, Failure):
            return opened
        notification, attributes = opened
        headers = _headers(_SNS_HEADERS, notification.fields)
        own = {attribute.name for attribute in message.attributes}
        added = tuple(attribute for attribute in attributes if attribute.name not in own)
        body = notification.fields["Message"].encode()
        message = message._replace(body=body, attributes=(*message.attributes, *added))
        found = _members(body) or {}
    if _is_test_event(found):
        return Failure(TEST_EVENT, "S3 sends it when notifications are set up; there is no object in it", 0.0)
    if _is_event(found):
        body, fields = _open_event(message.body.decode(), found)
        message, headers = message._replace(body=body), headers + _headers(_EVENT_HEADERS, fields)
    return Unwrapped(message, headers, notification)


def _members(body: bytes) -> Mapping[str, Member] | None:
    """Return the members of a body that may be an envelope."""
    if not any(mark in body for mark in _MARKS):
        return None
    try:
        return members(body.decode())
    except UnicodeDecodeError:
        return None


def _value(found: Mapping[str, Member], name: str) -> Any:
    return found[name].value if name in found else None


def _is_of_sns(found: Mapping[str, Member]) -> bool:
    kinds = (NOTIFICATION, *CONFIRMATIONS)
    kind = _value(found, "Type")
    return isinstance(kind, str) and kind in kinds and "TopicArn" in found and "MessageId" in found


def _open_notification(found: Mapping[str, Member]) -> tuple[Notification, tuple[Attribute, ...]] | Failure:
    fields = {name: member.value for name, member in found.items() if isinstance(member.value, str)}
    if not all(map(is_encodable, fields.values())):
        return Failure(MALFORMED, "SNS's envelope holds half of a character", 0.0)
    if not {"MessageId", "TopicArn", "Message"} <= fields.keys() or topic(fields["TopicArn"]) is None:
        return Failure(
            MALFORMED, "SNS's envelope needs a MessageId, the ARN of a topic, and a Message that is text", 0.0
        )
    if not isinstance(_value(found, "Subject"), str | None):
        return Failure(MALFORMED, "the Subject in SNS's envelope isn't text", 0.0)
    if fields["Type"] in CONFIRMATIONS:
        return Failure(CONFIRMATION, f"confirm the subscription to {fields['TopicArn']} at SNS", 0.0)
    attributes = _attributes(_value(found, "MessageAttributes"))
    if attributes is None:
        return Failure(MALFORMED, "the MessageAttributes in SNS's envelope need a Type and a Value each", 0.0)
    if len(attributes) > MOST_ATTRIBUTES:
        return Failure(MALFORMED, f"SNS's envelope has more than {MOST_ATTRIBUTES} MessageAttributes", 0.0)
    return Notification(fields), attributes


def _attributes(value: Any) -> tuple[Attribute, ...] | None:
    """Return SNS's attributes as those of a message, or None if they are none."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        return None
    found = []
    for name, described in value.items():
        if not isinstance(described, dict):
            return None
        attribute = Attribute(name, described.get("Type", ""), described.get("Value", ""))
        if not (
            name and attribute.data_type and all(isinstance(text, str) and is_encodable(text) for text in attribute)
        ):
            return None
        found.append(attribute)
    return tuple(found)


def _is_test_event(found: Mapping[str, Member]) -> bool:
    return (_value(found, "Event"), _value(found, "Service")) == ("s3:TestEvent", "Amazon S3")


def _is_event(found: Mapping[str, Member]) -> bool:
    names = ("id", "source", "account", "time", "region", "detail-type")
    return "detail" in found and "version" in found and all(isinstance(_value(found, name), str) for name in names)


def _open_event(text: str, found: Mapping[str, Member]) -> tuple[bytes, Mapping[str, str]]:
    """Return the detail of an event as it was written, and the members that are texts."""
    detail = found["detail"]
    fields = {name: member.value for name, member in found.items() if isinstance(member.value, str)}
    return text[detail.start : detail.end].encode(), fields


def _headers(headers: tuple[tuple[bytes, str], ...], fields: Mapping[str, str]) -> tuple[Header, ...]:
    """Return the headers for these members, if they are there and not empty."""
    return tuple((name, header_value(fields[key])) for name, key in headers if fields.get(key))


class Unwrap:
    """The step that unwraps each message. ``describes`` says if headers say what stood on the envelopes.

    Headers of the operator's own replace them, and attributes that the operator allows; ``own`` are the names of both.
    """

    def __init__(self, *, describes: bool, own: Iterable[str]) -> None:
        self._describes = describes
        self._own = frozenset(name.lower().encode() for name in own)

    def __call__(self, content: Content, _: Callable[[Made], None]) -> Made:
        """Take the envelopes off."""
        unwrapped = unwrap(content.message)
        return unwrapped if isinstance(unwrapped, Failure) else self.content(content, unwrapped)

    def content(self, content: Content, unwrapped: Unwrapped) -> Content:
        """Return the content with an unwrapped message."""
        if unwrapped.message is content.message:
            return content
        lines, dropped = content.headers, content.dropped
        for name, value in unwrapped.headers if self._describes else ():
            if value is None:
                dropped += 1
            elif name.lower() not in self._own:
                lines += b"%b: %b\r\n" % (name, value)
        return content._replace(message=unwrapped.message, headers=lines, dropped=dropped)
