"""The sets of headers to choose from: those of aws-sqsd, the same under Courier's own names, CloudEvents, or none.

Source of the first: "Elastic Beanstalk worker environments", section on the HTTP headers of the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from courier import __version__
from courier.request.header_templates import HeaderTemplate, parse_header

SQSD: Final = "sqsd"
COURIER: Final = "courier"
CLOUDEVENTS: Final = "cloudevents"
NONE: Final = "none"


class HeaderSet(NamedTuple):
    """Headers, and the prefix of the headers of message attributes; without a prefix those aren't sent."""

    headers: tuple[HeaderTemplate, ...]
    attribute_prefix: str


def _parsed(*texts: str) -> tuple[HeaderTemplate, ...]:
    return tuple(map(parse_header, texts))


_IN_ALL: Final = _parsed("Accept: */*")
_OURSELVES: Final = _parsed(f"User-Agent: courier/{__version__}")
# For recipients that know nothing of SQS: the key that shows a repeat, and the trace of the message.
_STANDARD: Final = _parsed(
    "Idempotency-Key: {original_id}",
    "X-Amzn-Trace-Id: {trace}",
    "traceparent: {traceparent}",
)

SETS: Final[Mapping[str, HeaderSet]] = {
    SQSD: HeaderSet(
        (
            *_IN_ALL,
            # A version of the daemon and nothing else: applications compare the whole value, or the version alone.
            *_parsed(
                "User-Agent: aws-sqsd/2.4",
                "X-Aws-Sqsd-Msgid: {message_id}",
                "X-Aws-Sqsd-Queue: {queue}",
                "X-Aws-Sqsd-Receive-Count: {receive_count}",
                "X-Aws-Sqsd-First-Received-At: {first_received_at}",
                "X-Aws-Sqsd-Sent-At: {sent_at}",
                "X-Aws-Sqsd-Sender-Id: {sender_id}",
            ),
            *_STANDARD,
        ),
        "X-Aws-Sqsd-Attr-",
    ),
    COURIER: HeaderSet(
        (
            *_IN_ALL,
            *_OURSELVES,
            *_parsed(
                "Courier-Message-Id: {message_id}",
                "Courier-Queue: {queue}",
                "Courier-Receive-Count: {receive_count}",
                "Courier-First-Received-At: {first_received_at}",
                "Courier-Sent-At: {sent_at}",
                "Courier-Sender-Id: {sender_id}",
                "Courier-Group: {group}",
            ),
            *_STANDARD,
        ),
        "Courier-Attribute-",
    ),
    # Those of the event are made by courier.request.cloudevents.
    CLOUDEVENTS: HeaderSet((*_IN_ALL, *_OURSELVES, *_STANDARD), ""),
    NONE: HeaderSet((*_IN_ALL, *_OURSELVES), ""),
}


def with_own(headers: Sequence[HeaderTemplate], own: Sequence[HeaderTemplate]) -> list[HeaderTemplate]:
    """Return a set's headers and the operator's own, which replace those of the same name."""
    names = {header.name.lower() for header in own}
    return [*(header for header in headers if header.name.lower() not in names), *own]
