"""The prices of AWS that the monthly cost is made of, in one table: us-east-1, in US dollars, without taxes.

They are list prices of the pages named beside them. Whoever changes them runs ``make scale-docs``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

REGION: Final = "us-east-1"
AS_OF: Final = "2026-11-26"
HOURS: Final = 730
"""Hours of a month, as AWS counts them."""

SECONDS: Final = HOURS * 3600

SQS_PAGE: Final = "https://aws.amazon.com/sqs/pricing/"
FIREHOSE_PAGE: Final = "https://aws.amazon.com/firehose/pricing/"
EC2_PAGE: Final = "https://aws.amazon.com/ec2/pricing/on-demand/"
S3_PAGE: Final = "https://aws.amazon.com/s3/pricing/"
EBS_PAGE: Final = "https://aws.amazon.com/ebs/pricing/"

Tiers = tuple[tuple[float, float], ...]
"""Steps of a price: up to how many units a month, dollars for a unit. The last step has no end."""

_ENDLESS: Final = float("inf")
SQS_FREE_CALLS: Final = 1e6
SQS_CHUNK: Final = 64 * 1024
"""Bytes of a call that are billed as one call: a receive of 256 KiB is four."""

SQS_STANDARD: Final[Tiers] = ((100e9, 0.40e-6), (200e9, 0.30e-6), (_ENDLESS, 0.24e-6))
SQS_FIFO: Final[Tiers] = ((100e9, 0.50e-6), (200e9, 0.40e-6), (_ENDLESS, 0.35e-6))
FIREHOSE: Final[Tiers] = ((500e3, 0.029), (2000e3, 0.025), (_ENDLESS, 0.020))
"""For a gigabyte."""

FIREHOSE_STEP: Final = 5 * 1024
"""Bytes to which each record is rounded up."""

S3_GIGABYTE: Final = 0.023
"""A month, in S3 Standard."""

EBS_GIGABYTE: Final = 0.08
"""A month, of a gp3 volume."""


class Machine(NamedTuple):
    """A type of EC2 machine: virtual CPUs, GiB of memory, dollars an hour."""

    name: str
    cpus: int
    memory: float
    hour: float


MACHINES: Final = (
    Machine("m7g.medium", 1, 4, 0.0408),
    Machine("m7g.large", 2, 8, 0.0816),
    Machine("m7g.xlarge", 4, 16, 0.1632),
    Machine("m7g.2xlarge", 8, 32, 0.3264),
)


def tiered(units: float, tiers: Tiers) -> float:
    """Return the price of so many units."""
    price = begin = 0.0
    for end, each in tiers:
        price += (min(units, end) - begin) * each
        if units <= end:
            return price
        begin = end
    return price


PRICES: Final = (
    ("SQS, standard queue, a million calls", "0.40 (0.30 beyond 100 billion, 0.24 beyond 200 billion)", SQS_PAGE),
    ("SQS, FIFO queue, a million calls", "0.50 (0.40 beyond 100 billion, 0.35 beyond 200 billion)", SQS_PAGE),
    ("SQS, the first million calls of an account", "0", SQS_PAGE),
    ("Firehose, Direct PUT, a GB", "0.029 (0.025 beyond 500 TB, 0.020 beyond 2 PB)", FIREHOSE_PAGE),
    ("S3 Standard, a GB a month", f"{S3_GIGABYTE}", S3_PAGE),
    ("EBS gp3, a GB a month", f"{EBS_GIGABYTE}", EBS_PAGE),
    *((f"EC2 {each.name}, Linux, an hour", f"{each.hour}", EC2_PAGE) for each in MACHINES),
)
"""What the page shows: what, dollars, and the page of AWS."""
