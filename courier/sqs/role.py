"""The role that Courier assumes for its calls to SQS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SESSION_NAME: Final = "courier"

ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,576}")
EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
ROLE_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
"""What STS accepts for a role, an external id and the name of a session."""


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role by its ARN; the external id that its trust policy may ask for, and the session's name in CloudTrail."""

    arn: str
    external_id: str | None = None
    session_name: str = SESSION_NAME
