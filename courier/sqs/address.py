"""The address of a queue: its name, or its URL with the region and the endpoint that follow from it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from courier.errors import CannotStart
from courier.http.url_parsing import read_url

AWS_DOMAINS: Final = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".api.aws",
    ".api.amazonwebservices.com.cn",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
)
"""The domains of AWS's partitions, and those of their dual-stack endpoints."""

_DUAL_STACK: Final = (".api.aws", ".api.amazonwebservices.com.cn")

# sqs.eu-west-1.…, sqs-fips.us-gov-west-1.…, and the old eu-west-1.queue.amazonaws.com.
_REGION: Final = re.compile(
    r"(?:^|\.)sqs(?:-fips)?\.(?P<region>[a-z]+(?:-[a-z]+)+-\d+)\.|^(?P<old>[a-z]+(?:-[a-z]+)+-\d+)\.queue\.amazonaws\."
)
_NAME: Final = re.compile(r"(?=.{1,80}$)[A-Za-z0-9_-]+(\.fifo)?")


class QueueAddress(NamedTuple):
    """A queue as the operator named it. ``url`` is ``None`` if that is a name.

    ``region`` is the one in the URL. ``origin`` is the URL of the server if only the queue's URL names it: an emulator,
    a VPC endpoint by its own name, or AWS's FIPS or dual-stack endpoint.
    """

    name: str
    url: str | None = None
    region: str | None = None
    origin: str | None = None


def read_address(queue: str, option: str = "--queue") -> QueueAddress:
    """Read the name or URL of a queue. Raises CannotStart for anything else; its line names the ``option``."""
    if "://" not in queue:
        if _NAME.fullmatch(queue):
            return QueueAddress(queue)
        raise CannotStart(
            f"{option} {queue!r} is neither the URL nor the name of a queue; "
            "a name has 1 to 80 letters, digits, hyphens and underscores, and may end in .fifo"
        )
    try:
        url = read_url(queue)
    except ValueError as error:
        raise CannotStart(f"{option}: {error}") from None
    name = unquote(urlsplit(queue).path).rstrip("/").rpartition("/")[2]
    if not name:
        raise CannotStart(f"{option} {queue!r} is a URL without the queue's name at its end; add it")
    own = not is_public_aws(url.host) or bool(variants(url.host))
    return QueueAddress(name, queue, region_in(url.host), f"{url.scheme}://{url.host_header}" if own else None)


def is_aws(host: str) -> bool:
    """Return whether a host name is one of AWS's."""
    return host.endswith(AWS_DOMAINS)


def is_public_aws(host: str) -> bool:
    """Return whether a host name is that of one of AWS's public endpoints, not of a VPC endpoint."""
    return is_aws(host) and ".vpce." not in host


def variants(host: str) -> frozenset[str]:
    """Return which variants of AWS's endpoint for SQS a host name stands for: fips, dualstack, both or none."""
    found = {"fips"} if host.startswith("sqs-fips.") else set()
    if host.endswith(_DUAL_STACK):
        found.add("dualstack")
    return frozenset(found)


def region_in(host: str) -> str | None:
    """Return the region in a host name of SQS, or ``None``."""
    if host == "queue.amazonaws.com":
        return "us-east-1"
    match = _REGION.search(host)
    return (match["region"] or match["old"]) if match else None
