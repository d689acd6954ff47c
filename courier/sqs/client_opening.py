"""The opening of boto3's clients for other services than SQS: what goes wrong is one line that names the option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError

from courier.errors import CannotStart
from courier.sqs.credentials import NoKeys
from courier.sqs.errors import as_detail


def open_client(service: str, endpoint_option: str, make: Callable[[], Any]) -> Any:
    """Return the client that ``make`` makes. Raise CannotStart if boto3's configuration can't be read.

    ``service`` and the option of its endpoint are for the error.
    """
    try:
        return make()
    except NoKeys as error:
        raise CannotStart(str(error)) from error
    except (BotoCoreError, OSError, ValueError) as error:
        raise CannotStart(
            f"no client for {service}: {as_detail(str(error))}; check {endpoint_option}, --region and the AWS "
            "configuration"
        ) from error
