"""The account that owns all queues of the virtual SQS, its regions, and the ARNs of its queues."""

from __future__ import annotations

from typing import Final

ACCOUNT: Final = "000000000000"

EVERYWHERE: Final = ""
"""The region of the queues that clients of all regions find: those that no client created."""

HOME_REGION: Final = "us-east-1"
"""The region of a client that names none."""

PARTITIONS: Final = {"cn": "aws-cn", "us-gov": "aws-us-gov"}


def partition_of(region: str) -> str:
    """Return the partition of a region, with which its ARNs begin."""
    return next((PARTITIONS[prefix] for prefix in PARTITIONS if region.startswith(f"{prefix}-")), "aws")


def arn_of(name: str, region: str) -> str:
    """Return the ARN of the queue of a name in a region."""
    return f"arn:{partition_of(region)}:sqs:{region}:{ACCOUNT}:{name}"
