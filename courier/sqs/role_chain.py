"""boto3's chain with a role on top: its keys are those that STS gives for the role to the keys of the chain."""

from __future__ import annotations

from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, Credentials, DeferredRefreshableCredentials
from botocore.exceptions import ClientError

from courier.sqs.chain import Chain, ChainKeys, open_session, search_session
from courier.sqs.credentials import FoundKeys
from courier.sqs.errors import as_detail
from courier.sqs.role import AssumedRole

_CALLING: Final = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
"""boto3's own patience with STS is minutes, and calls to SQS wait for it."""


class RoleChain(Chain):
    """boto3's chain, whose keys may assume a role."""

    def __init__(self, role: AssumedRole) -> None:
        self._role = role

    @property
    def role(self) -> AssumedRole:
        """The role that the keys are for."""
        return self._role

    def find_keys(self, region: str | None) -> FoundKeys:
        """Search boto3's chain anew; the first read asks STS. Raises NoKeys."""
        session = open_session(region)
        return RoleKeys(_of_role(session, search_session(session), self._role), self._role)


class RoleKeys(ChainKeys):
    """Keys of a role, which STS renews before their end, with the keys of the chain as they are then."""

    def __init__(self, credentials: Credentials, role: AssumedRole) -> None:
        super().__init__(credentials)
        self._role = role

    def explain(self, error: Exception) -> str:
        """Return the line for a failed read: what STS says of the role, or what is wrong with the keys that ask."""
        if not isinstance(error, ClientError) or error.operation_name != "AssumeRole":
            return super().explain(error)
        return f"the role {self._role.arn} can't be assumed: {as_detail(_words(error))}; {_advice(error)}"


def _of_role(session: botocore.session.Session, source: Credentials, role: AssumedRole) -> Credentials:
    arguments = {"RoleSessionName": role.session_name}
    if role.external_id is not None:
        arguments["ExternalId"] = role.external_id

    def open_sts(service: str, **keys: Any) -> Any:
        # A failure to make the client belongs to the configuration of boto3, not to the role.
        return session.create_client(service, config=_CALLING, **keys)

    fetcher = AssumeRoleCredentialFetcher(open_sts, source, role.arn, extra_args=arguments)
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, method="assume-role")


def _words(error: ClientError) -> str:
    described = error.response.get("Error", {})
    return f"{described.get('Code', 'unknown')}: {described.get('Message', '')}".rstrip(": ")


def _advice(error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code == "AccessDenied":
        return (
            "allow sts:AssumeRole on it to the credentials that Courier starts with, and have its trust policy name "
            "them; if that asks for an external id, give the same one in --external-id"
        )
    if code == "RegionDisabledException":
        return "activate STS in the region for the account of the role"
    return "renew or correct the credentials that Courier starts with; they must be those that assume the role"
