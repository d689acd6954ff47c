"""The choice between boto3's chain and a plain environment, in which the chain's outcome is known without it."""

from __future__ import annotations

from collections.abc import Mapping

from courier.sqs.configuration import AwsConfiguration
from courier.sqs.plain_environment import read_plain_environment


def aws_configuration(variables: Mapping[str, str]) -> AwsConfiguration:
    """Return the configuration of AWS for the variables of this process.

    The first call imports botocore if it is needed, so make it before the fork: all processes share its pages then.
    """
    plain = read_plain_environment(variables)
    if plain is not None:
        return plain
    # Imported here: botocore takes a tenth of a second and 15 MB, and a plain environment needs none of it.
    from courier.sqs.chain import Chain

    return Chain()
