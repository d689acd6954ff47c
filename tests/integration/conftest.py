"""Fixtures of the integration tests."""

from tests.integration.http_transports import open_transport, talking
from tests.integration.sqs_endpoints import endpoint, moto_server, sqs, virtual_queue

__all__ = ["endpoint", "moto_server", "open_transport", "sqs", "talking", "virtual_queue"]
