"""The choice between boto3's chain and a plain environment, in which the chain's outcome is known without it."""

from __future__ import annotations

from collections.abc import Mapping

from courier.sqs.configuration import AwsConfiguration
from courier.sqs.plain_environment import read_plain_environment
from courier.sqs.role import AssumedRole


def aws_configuration(variables: Mapping[str, str], role: AssumedRole | None = None) -> AwsConfiguration:
    """Return the configuration of AWS for the variables of this process, whose keys assume a ``role`` if there is one.

    The first call imports botocore if it is needed, so make it before the fork: all processes share its pages then.
    """
    if role is not None:
        # Imported here: it is botocore, too.
        from courier.sqs.role_chain import RoleChain

        return RoleChain(role)
    plain = read_plain_environment(variables)
    if plain is not None:
        return plain
    # Imported here: botocore takes a tenth of a second and 15 MB, and a plain environment needs none of it.
    from courier.sqs.chain import Chain

    return Chain()
