"""The configuration of AWS in a plain environment: keys and region in variables, and no file of boto3.

There boto3's rules have one outcome that is known without botocore. Any other variable of AWS, and any file, makes the
environment not plain, so that no rule is written twice; the tests hold the rest against botocore.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from courier.http.proxy import Proxy
from courier.http.url import Url
from courier.http.url_parsing import read_url
from courier.sqs.address import is_public_aws
from courier.sqs.configuration import Place
from courier.sqs.credentials import FoundKeys, StaticKeys
from courier.sqs.environment_proxy import environment_proxy, names_a_proxy
from courier.sqs.signer import Keys

_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_FILES: Final = (
    ("AWS_CONFIG_FILE", "~/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
)
_MODELS: Final = "~/.aws/models"
"""Where botocore looks for models of services that stand in for its own."""

_KNOWN: Final = frozenset(
    {
        *_KEYS,
        *(variable for variable, _ in _FILES),
        "AWS_CA_BUNDLE",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SQS",
        "AWS_FIREHOSE_STREAM",
        "AWS_REGION",
        "AWS_SESSION_TOKEN",
        "AWS_SQS_QUEUE",
    }
)
"""The variables whose meaning is known here, or that boto3 doesn't read."""

# Regions of AWS's commercial partition: all of them have the same domain.
_REGION: Final = re.compile(r"(?:af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[1-9]")
_LABEL: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class PlainEnvironment:
    """A plain environment. ``region``, ``endpoint_url`` and ``ca_bundle`` are ``None`` if it names none.

    ``names_a_proxy`` says whether it has variables about proxies.
    """

    keys: Keys
    region: str | None
    endpoint_url: str | None
    ca_bundle: str | None
    names_a_proxy: bool = False

    @property
    def role(self) -> None:
        """Return ``None``: only STS could give the keys of a role."""

    @property
    def keys_at_hand(self) -> Keys:
        """The keys, which stay the same as long as the program runs."""
        return self.keys

    def find_keys(self, region: str | None) -> FoundKeys:
        """Return the keys; see :class:`courier.sqs.configuration.AwsConfiguration`."""
        return StaticKeys(self.keys, "env")

    def find_place(self, region: str | None, endpoint_url: str | None, origin: str | None) -> Place:
        """Return where the calls to SQS go; see :class:`courier.sqs.configuration.AwsConfiguration`."""
        region = region or self.region
        url = endpoint_url or self._configured_url(region, origin)
        if region is None or url is None or not _LABEL.fullmatch(region):
            # Imported here: few regions and endpoints need botocore, and then only the process that looks queues up.
            from courier.sqs.chain import Chain

            return Chain().find_place(region, endpoint_url, origin)
        return Place(region, url, self.ca_bundle)

    def find_proxy(self, endpoint: Url) -> Proxy | None:
        """Return the proxy for the calls to an endpoint; see :class:`courier.sqs.configuration.AwsConfiguration`."""
        return environment_proxy(endpoint) if self.names_a_proxy else None

    def _configured_url(self, region: str | None, origin: str | None) -> str | None:
        """Return the endpoint if no option gives it; ``None`` if only botocore knows it or can say what is wrong."""
        url = self.endpoint_url
        if url is None:
            aws = f"https://sqs.{region}.amazonaws.com" if region and _REGION.fullmatch(region) else None
            return origin or aws
        try:
            host = read_url(url).host
        except ValueError:
            return None
        return origin if origin is not None and is_public_aws(host) else url


def read_plain_environment(variables: Mapping[str, str]) -> PlainEnvironment | None:
    """Return the plain environment in the variables of a process; ``None`` if it isn't plain."""
    given = {name: value for name, value in variables.items() if name.startswith("AWS_")}
    if not given.keys() <= _KNOWN or not all(given.values()) or not all(name in given for name in _KEYS):
        return None
    paths = [given.get(variable, default) for variable, default in _FILES]
    if any(os.path.lexists(os.path.expanduser(path)) for path in (*paths, _MODELS)):
        return None
    key, secret = (given[name] for name in _KEYS)
    endpoint_url = given.get("AWS_ENDPOINT_URL_SQS") or given.get("AWS_ENDPOINT_URL")
    return PlainEnvironment(
        Keys(key, secret, given.get("AWS_SESSION_TOKEN", "")),
        given.get("AWS_DEFAULT_REGION"),
        endpoint_url,
        given.get("AWS_CA_BUNDLE"),
        names_a_proxy(variables),
    )
