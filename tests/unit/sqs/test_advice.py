from __future__ import annotations

import re

import pytest

from courier.config.config import OPTIONS
from courier.errors import SqsError
from courier.http.answer import REASONS, SHORTAGES, Failure
from courier.sqs import errors
from courier.sqs.advice import BY_CAUSE, BY_CODE, OTHERWISE, advice, advice_on
from courier.sqs.errors import CALLER, CONTENT, LATER, NETWORK, no_answer

KMS = [f"Kms{kind}" for kind in ("AccessDenied", "Disabled", "InvalidKeyUsage", "InvalidState", "NotFound")]
KMS += ["KmsOptInRequired", "KmsThrottled", "KMS.AccessDeniedException", "KMS.ThrottlingException"]
SPOKEN_OF = sorted((CALLER | LATER | {errors.UNREADABLE, errors.UNSENDABLE}) - {NETWORK})


@pytest.mark.parametrize("reason", [*REASONS, *SHORTAGES])
def test_a_call_without_an_answer_has_the_advice_for_its_cause(reason: str) -> None:
    error = no_answer("ReceiveMessage", Failure(reason, "sqs.example", 0.1))
    assert advice(error) == BY_CAUSE[reason]


@pytest.mark.parametrize("code", SPOKEN_OF)
def test_each_code_that_courier_tells_apart_has_advice_of_its_own(code: str) -> None:
    assert advice_on(code, "ReceiveMessage") not in ("", OTHERWISE)


@pytest.mark.parametrize("code", KMS)
def test_trouble_with_the_key_names_kms(code: str) -> None:
    assert "KMS" in advice_on(code, "ReceiveMessage")


@pytest.mark.parametrize("code", [*sorted(CONTENT), "SomethingNew", ""])
def test_a_code_that_nobody_knows_has_advice_too(code: str) -> None:
    assert advice_on(code, "DeleteMessageBatch")


def test_a_denied_call_names_the_permission_that_is_missing() -> None:
    error = SqsError("DeleteMessageBatch", "AccessDenied", "", retriable=False, status=403)
    assert "sqs:DeleteMessage " in advice(error)


def test_advice_names_only_options_that_there_are() -> None:
    flags = {option.flag for option in OPTIONS.values()}
    for text in (*BY_CAUSE.values(), *BY_CODE.values()):
        assert set(re.findall(r"--[a-z-]+", text)) <= flags
