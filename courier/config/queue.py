"""The options of the queue: where messages come from, and how they are received."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from courier.config.checks import SQS_EXAMPLE, assumed_role, check_aws_url, check_queue, check_queue_name, refuse
from courier.config.option import LONGEST_VISIBILITY, option
from courier.config.units import TEXT, number, one_of, seconds
from courier.sqs.role import SESSION_NAME, AssumedRole

_option = partial(option, "Queue")


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """The options of the queue."""

    queue: str = _option(
        "", "--queue", TEXT, "Name or URL of the SQS queue.", variable="AWS_SQS_QUEUE", may_hold_secret=True
    )
    region: str | None = _option(
        None,
        "--region",
        TEXT,
        "AWS region.",
        "Without it, boto3 takes the region from its environment or profile.",
        variable="AWS_REGION",
    )
    visibility_timeout_seconds: int = _option(
        30,
        "--visibility-timeout",
        seconds(1, LONGEST_VISIBILITY, whole=True),
        "How long SQS hides a received message.",
        "Courier extends it for as long as it holds the message.",
    )
    endpoint_url: str | None = _option(
        None,
        "--endpoint-url",
        TEXT,
        "URL of an SQS API other than AWS.",
        "For example http://127.0.0.1:9324.",
        may_hold_secret=True,
    )
    role_arn: str | None = _option(
        None,
        "--role-arn",
        TEXT,
        "ARN of a role to assume for calls to SQS.",
        "Courier assumes it with the credentials that boto3 finds, and again before its keys expire. Calls to "
        "Firehose and S3 don't use it.",
    )
    external_id: str | None = _option(
        None, "--external-id", TEXT, "External id for --role-arn.", "Give it if the role's trust policy asks for one."
    )
    role_session_name: str = _option(
        SESSION_NAME, "--role-session-name", TEXT, "Session name of --role-arn.", "CloudTrail shows it."
    )
    batch_size: int = _option(10, "--batch-size", number(1, 10), "Maximum messages per receive.")
    wait_time_seconds: int = _option(
        20,
        "--wait-time",
        seconds(0, 20, whole=True),
        "Maximum wait of one receive (long polling).",
        "With 0, Courier slows down to one receive a second while the queue is empty.",
    )
    poll_interval_seconds: float = _option(
        0.0,
        "--poll-interval",
        seconds(0, 3600),
        "Minimum time between two receives of a consumer.",
        "With 0, further consumers receive only when one isn't enough.",
    )
    queue_type: str = _option(
        "remote",
        "--queue-type",
        one_of("remote", "virtual", "nop"),
        "Where messages come from.",
        "remote: SQS. virtual: a queue in memory, for trying Courier out. nop: nowhere; nothing is received.",
    )

    @property
    def assumed_role(self) -> AssumedRole | None:
        """The role to assume for calls to SQS, ``None`` without one. Raises ConfigError if STS would refuse it."""
        return assumed_role(self.role_arn, self.external_id, self.role_session_name)

    def _check_queue(self) -> None:
        self.assumed_role  # noqa: B018 (checks it)
        if self.queue_type == "remote":
            check_queue(self.queue, self.endpoint_url)
            return
        if self.queue:
            check_queue_name("--queue", self.queue)
        if self.endpoint_url:
            if self.queue_type == "nop":
                refuse("--endpoint-url", "must be left out with --queue-type nop, which calls no SQS")
            check_aws_url("--endpoint-url", self.endpoint_url, SQS_EXAMPLE)
