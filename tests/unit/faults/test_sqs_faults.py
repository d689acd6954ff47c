"""Faults of SQS as values, what they explain, and the credentials that expire."""

from __future__ import annotations

from pathlib import Path

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from scripts.faults.catalogue.sqs import ROWS
from scripts.faults.credentials import Credentials
from scripts.faults.events import Received
from scripts.faults.fault import Fault, Row
from scripts.faults.gate_faults import SqsFault
from scripts.faults.injectors.sqs import brings_nothing, sqs_fault, unsettled
from scripts.faults.program import CourierAdapter
from scripts.faults.trial import run_trial
from scripts.faults.workload import Workload
from tests.integration.sqs_endpoints import refusal
from tests.unit.faults.gated_queue import GatedQueue, queue, virtual_endpoint

__all__ = ["queue", "virtual_endpoint"]

RECEIVE = "ReceiveMessage"
DELETE = "DeleteMessageBatch"


def test_a_fault_of_a_row_is_one_of_the_gate_with_another_seed_for_each_turn() -> None:
    fault = Fault("sqs", "slow", seed=3, detail={"actions": [DELETE], "share": 0.5, "seconds": 2.0, "program": 1})
    assert sqs_fault(fault, 2) == SqsFault("slow", frozenset({DELETE}), share=0.5, seconds=2.0, seed=5)


def test_only_a_fault_of_each_receive_excuses_a_stall() -> None:
    assert brings_nothing(SqsFault("black-hole"), RECEIVE)
    assert brings_nothing(SqsFault("error", frozenset({RECEIVE})), RECEIVE)
    assert not brings_nothing(SqsFault("error", share=0.9), RECEIVE)
    assert not brings_nothing(SqsFault("error", frozenset({DELETE})), RECEIVE)
    assert not brings_nothing(SqsFault("slow"), RECEIVE)


def test_an_outage_explains_the_messages_whose_leases_ended_in_it_and_no_others() -> None:
    received = [Received(at, str(at), "") for at in (80.0, 92.0, 95.0, 99.0)]
    held = unsettled(received, ["95.0"], visibility=10, begin=100.0, end=105.0)
    # Of the first the lease had ended before, the third was deleted in time, and the last still can be.
    assert held.message_ids == {"92.0"}


def test_a_fault_counts_the_calls_that_it_hit_and_is_hidden_alone(queue: GatedQueue) -> None:
    receives, deletes = queue.gate.show(
        SqsFault("denied", frozenset({RECEIVE})), SqsFault("denied", frozenset({DELETE}))
    )
    for _ in range(2):
        assert refusal(queue.receive) == "AccessDenied"
    assert (receives.hits, deletes.hits) == (2, 0)
    queue.gate.hide(receives)
    assert queue.receive() == []
    assert refusal(queue.delete) == "AccessDenied"


def test_the_token_that_has_expired_is_refused_and_the_next_one_is_not(queue: GatedQueue, tmp_path: Path) -> None:
    credentials = Credentials(tmp_path / "credentials")
    queue.gate.show(SqsFault("expired-token", token=credentials.token))
    with pytest.raises(ClientError, match="ExpiredToken"):
        _list_queues(queue, credentials)
    credentials.renew()
    _list_queues(queue, credentials)


@pytest.mark.full
def test_messages_whose_leases_end_while_credentials_are_expired_may_come_twice(tmp_path: Path) -> None:
    expire = Fault("expire-credentials", at=1.0, lasts=1.0)
    row = Row("trial", "a trial", Workload(200, rate=40.0), (expire,), visibility=3, credentials=True)
    result = run_trial(row, CourierAdapter(), tmp_path, judge_stall=False)
    assert result.failures == []
    assert result.verdict.duplicates > 0


def test_each_row_has_a_name_of_its_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def _list_queues(queue: GatedQueue, credentials: Credentials) -> None:
    session = botocore.session.Session()
    session.set_config_variable("credentials_file", credentials.environment()["AWS_SHARED_CREDENTIALS_FILE"])
    resolver = session.get_component("credential_provider")
    found = resolver.get_provider("shared-credentials-file").load()
    client = boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=queue.gate.url,
        aws_access_key_id=found.access_key,
        aws_secret_access_key=found.secret_key,
        aws_session_token=found.token,
    )
    client.list_queues()
