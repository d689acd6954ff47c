"""The configuration of AWS as boto3's chain finds it: variables, files, profiles, roles.

This is boto3's own code, which is botocore's: boto3 only adds classes of services that nobody needs here.
"""

from __future__ import annotations

import logging
from typing import Final

import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, SSOError, SSOTokenLoadError, TokenRetrievalError
from botocore.utils import validate_region_name

from courier.errors import CannotStart
from courier.http.proxy import Proxy
from courier.http.url import Url
from courier.http.url_parsing import read_url
from courier.sqs.address import is_public_aws, variants
from courier.sqs.call_errors import CALL_ERRORS
from courier.sqs.configuration import Place
from courier.sqs.credentials import NO_CREDENTIALS, FoundKeys, NoKeys, checked
from courier.sqs.diagnosis import NO_REGION
from courier.sqs.environment_proxy import environment_proxy
from courier.sqs.errors import as_detail
from courier.sqs.role import AssumedRole
from courier.sqs.signer import Keys

METADATA_METHOD: Final = "iam-role"
METADATA_URL: Final = "http://169.254.169.254/"

_ADVICE: Final = (
    "repair where they come from: the credential process, the instance metadata (IMDS) or container endpoint, STS and "
    "the role's trust policy, or the SSO login"
)

_CHAIN_ERRORS: Final = CALL_ERRORS
"""What the chain raises. OSError and ValueError come from a credential process that is missing or doesn't answer in
JSON, RuntimeError from a renewal that brought expired keys, and the error of the parser from a page in place of XML."""

# It warns of each failed renewal with a traceback. A line of our own says why, and what to do.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)


class NoPrompter(RuntimeError):
    """Raised where the chain would ask a person for something."""


class Chain:
    """boto3's chain. Each call opens a session of its own, which reads all files and variables again."""

    @property
    def role(self) -> AssumedRole | None:
        """Return ``None``: a profile may assume roles, but none is on top."""
        return None

    @property
    def keys_at_hand(self) -> None:
        """Return ``None``: the chain has to be searched."""

    def find_keys(self, region: str | None) -> FoundKeys:
        """Search boto3's chain; see :class:`courier.sqs.configuration.AwsConfiguration`."""
        return search_chain(region)

    def find_place(self, region: str | None, endpoint_url: str | None, origin: str | None) -> Place:
        """Return where the calls to SQS go; see :class:`courier.sqs.configuration.AwsConfiguration`."""
        session = open_session(region)
        name = session.get_config_variable("region")
        if name is None:
            raise CannotStart(NO_REGION)
        try:
            validate_region_name(name)
            url = endpoint_url or _configured_url(session, name, origin)
        except (BotoCoreError, ValueError) as error:
            raise CannotStart(
                f"no client for SQS in {name}: {as_detail(str(error))}; check the AWS configuration"
            ) from error
        return Place(name, url, session.get_config_variable("ca_bundle"))

    def find_proxy(self, endpoint: Url) -> Proxy | None:
        """Return the proxy for the calls to an endpoint; see :class:`courier.sqs.configuration.AwsConfiguration`."""
        return environment_proxy(endpoint)


class ChainKeys:
    """Keys that boto3's chain found, and renews if they have an end."""

    def __init__(self, credentials: Credentials) -> None:
        self.method: str = (credentials.method or "unknown") + _asked_through(credentials.method)
        self._credentials = credentials
        self._has_been_read = False

    def read(self) -> Keys:
        """Return the current keys, renewed first if they are near their end. It may block. Raises NoKeys."""
        try:
            frozen = self._credentials.get_frozen_credentials()
        except _CHAIN_ERRORS as error:
            raise NoKeys(self.explain(error)) from error
        self._has_been_read = True
        return checked(Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token or ""))

    def explain(self, error: Exception) -> str:
        """Return the line for a failed read."""
        what = "the AWS credentials can't be renewed" if self._has_been_read else "no AWS credentials"
        return f"{what}: {as_detail(str(error))}; {_advice(error)}"

    def are_old(self) -> bool:
        """Return whether the keys are near their end: 15 minutes before it, boto3's advisory period."""
        return isinstance(self._credentials, RefreshableCredentials) and self._credentials.refresh_needed()


def search_chain(region: str | None) -> FoundKeys:
    """Search boto3's chain anew, with nothing cached. It may block for seconds. Raises NoKeys.

    ``region`` is for the calls that some members of the chain make, such as those to STS.
    """
    return ChainKeys(search_session(open_session(region)))


def search_session(session: botocore.session.Session) -> Credentials:
    """Search the chain of a session, with nothing cached. It may block for seconds. Raises NoKeys."""
    # Its default asks for the code at a terminal, once in each process and again an hour later.
    session.get_component("credential_provider").get_provider("assume-role")._prompter = _no_prompter
    try:
        credentials = session.get_credentials()
    except _CHAIN_ERRORS as error:
        raise NoKeys(f"no AWS credentials: {as_detail(str(error))}; {_advice(error)}") from error
    if credentials is None:
        raise NoKeys(NO_CREDENTIALS + _asked_through(METADATA_METHOD))
    return credentials


def _asked_through(method: str | None) -> str:
    """Return what to say of keys of the instance that boto3 asks for through a proxy; empty if it doesn't."""
    if method != METADATA_METHOD:
        return ""
    try:
        proxy = environment_proxy(read_url(METADATA_URL))
    except CannotStart:
        proxy = None
    if proxy is None:
        return ""
    return f" (the instance metadata is asked through the proxy {proxy.where}: name 169.254.169.254 in NO_PROXY)"


def _no_prompter(_: str) -> str:
    raise NoPrompter("the profile asks for an MFA code, which nobody can enter here")


def _advice(error: Exception) -> str:
    if isinstance(error, NoPrompter):
        return "name a profile without mfa_serial, or keys that were made with the code: aws sts get-session-token"
    if isinstance(error, (SSOError, SSOTokenLoadError, TokenRetrievalError)):
        return (
            "log in again, as the user that Courier runs as: aws sso login; a program that runs for longer than such a "
            "login lasts needs a role"
        )
    return _ADVICE


def open_session(region: str | None) -> botocore.session.Session:
    """Open a session, which reads files and variables again. Raises NoKeys, say for an unknown profile."""
    session = botocore.session.get_session()
    try:
        if region is not None:
            session.set_config_variable("region", region)
        # Reads the files, so that an unknown profile is said here.
        session.get_scoped_config()
    except _CHAIN_ERRORS as error:
        raise NoKeys(
            f"no AWS credentials: {as_detail(str(error))}; "
            "correct AWS_PROFILE, AWS_CONFIG_FILE or the file that they name"
        ) from error
    return session


def _configured_url(session: botocore.session.Session, region: str, origin: str | None) -> str:
    """Return the endpoint that boto3 is configured for, or ``origin`` if that is AWS's.

    If the origin is a variant of AWS's own endpoint, FIPS or dual-stack, what is configured is added to it.
    """
    wanted = variants(read_url(origin).host) if origin is not None else frozenset()
    config = Config(
        proxies={},
        # None leaves it to the configuration.
        use_fips_endpoint="fips" in wanted or None,
        use_dualstack_endpoint="dualstack" in wanted or None,
    )
    client = session.create_client("sqs", region_name=region, config=config)
    url: str = client.meta.endpoint_url
    host = read_url(url).host
    if origin is None or not is_public_aws(host) or (wanted and wanted < variants(host)):
        return url
    return origin
