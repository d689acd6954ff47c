"""Messages and envelopes for the tests of bodies."""

from __future__ import annotations

import json
from typing import Any

from courier.message import Attribute, Message
from tests.unit.stage import message

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"


def with_body(body: str | bytes, **attributes: str) -> Message:
    """Return a message; ``_`` in the name of an attribute is a ``-``."""
    made = message("m", body=body.encode() if isinstance(body, str) else body)
    return made._replace(
        attributes=tuple(Attribute(name.replace("_", "-"), "String", value) for name, value in attributes.items())
    )


def envelope(body: str = "hello", **changes: Any) -> dict[str, Any]:
    """Return SNS's envelope as it comes into a queue; a change to None leaves a member out."""
    fields = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "My First Message",
        "Message": body,
        "Timestamp": "2012-05-02T00:54:06.655Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE=",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        "MessageAttributes": {"tenant": {"Type": "String", "Value": "acme"}},
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def sns(body: str = "hello", **changes: Any) -> Message:
    """Return a message in SNS's envelope."""
    return with_body(json.dumps(envelope(body, **changes), indent=2))


def event(detail: str = '{"order": 42}', **changes: Any) -> str:
    """Return an event of EventBridge with the text of its detail."""
    fields = {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": "111122223333",
        "time": "2017-12-22T18:43:48Z",
        "region": "us-west-1",
        "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    } | changes
    return f'{json.dumps(fields)[:-1]}, "detail": {detail}}}'


TEST_EVENT = json.dumps(
    {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2014-10-13T15:57:02.089Z",
        "Bucket": "amzn-s3-demo-bucket",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
    }
)
