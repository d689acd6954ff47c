"""Fixtures of the integration tests."""

from tests.integration.sqs_endpoints import moto_server, virtual_queue

__all__ = ["moto_server", "virtual_queue"]
