"""The configuration of AWS: which keys sign, in which region, and where the calls go.

boto3's rules decide. :mod:`courier.sqs.chain` is boto3 itself; :mod:`courier.sqs.plain_environment` reads the same from
an environment that leaves nothing to decide. :mod:`courier.sqs.discovery` chooses.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from courier.http.proxy import Proxy
from courier.http.url import Url
from courier.sqs.credentials import FoundKeys
from courier.sqs.role import AssumedRole
from courier.sqs.signer import Keys


class Place(NamedTuple):
    """Where the calls to SQS go.

    ``ca_bundle`` is the file of certificates that boto3 is configured to trust, ``None`` for its own.
    """

    region: str
    endpoint_url: str
    ca_bundle: str | None


class AwsConfiguration(Protocol):
    """What boto3 would find. It may be used in any process, and reads anew what may have changed."""

    @property
    def role(self) -> AssumedRole | None:
        """The role that the keys are for, on top of what boto3 is configured for; ``None`` without one."""

    @property
    def keys_at_hand(self) -> Keys | None:
        """Keys that are known without a search and have no end; ``None`` if there are none."""

    def find_keys(self, region: str | None) -> FoundKeys:
        """Search boto3's chain anew, with nothing cached. It may block for seconds. Raises NoKeys.

        ``region`` is for the calls that some members of the chain make, such as those to STS.
        """

    def find_place(self, region: str | None, endpoint_url: str | None, origin: str | None) -> Place:
        """Return where the calls to SQS go.

        ``region`` and ``endpoint_url`` are the operator's, ``None`` for what is configured. ``origin`` is the endpoint
        if the configuration names none but AWS's. Raises CannotStart if there is no region or the configuration can't
        be used, NoKeys if it names a profile that isn't there.
        """

    def find_proxy(self, endpoint: Url) -> Proxy | None:
        """Return the proxy for the calls to an endpoint, as :func:`courier.sqs.environment_proxy.environment_proxy`."""
