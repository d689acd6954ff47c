"""The errors that a boto3 call may raise, whatever the service."""

from __future__ import annotations

from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

CALL_ERRORS: Final[tuple[type[Exception], ...]] = (
    BotoCoreError,
    ClientError,
    AttributeError,
    KeyError,
    OSError,
    ResponseParserError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Those of the credential chain and of answers that don't come from the service are among them."""
