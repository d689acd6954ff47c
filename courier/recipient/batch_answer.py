"""What the answer to a batch says of each message, by the rules of AWS Lambda's SQS trigger. Pure.

Sources: "Implementing partial batch responses" in the Lambda developer guide; the runtime interface emulator, which
answers a failed function with status 200 and the error as JSON; AWS's answers as recorded by localstack's tests.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import orjson

from courier.http.answer import Answer, Failure
from courier.recipient.batch_reasons import FUNCTION_ERROR, MALFORMED
from courier.recipient.policy import AnswerRules, is_success

_ERROR_HEADERS: Final = (b"x-amz-function-error", b"lambda-runtime-function-error-type")
_TIMED_OUT: Final = b"Task timed out after "
"""The beginning of what the emulator answers, with status 200, after the time-out of the function."""

_LONGEST_DETAIL: Final = 1000


class BatchResult(NamedTuple):
    """What came of a batch.

    ``whole`` is the answer, or the failure, of all its messages alike; ``None`` if the function settled the batch,
    except for the messages with the ids ``failed``.
    """

    whole: Answer | Failure | None
    failed: frozenset[str] = frozenset()


def read_batch_answer(
    answer: Answer | Failure, ids: Collection[str], rules: AnswerRules, *, reports: bool
) -> BatchResult:
    """Read the answer to a batch of messages with these ids.

    With ``reports`` the answer may name messages that failed (ReportBatchItemFailures). An answer that can't be right
    then fails the whole batch: it may mean a message that it doesn't name. An empty one settles the batch.
    """
    if not is_success(answer, rules):
        return BatchResult(answer)
    error_type = next(filter(None, map(answer.header, _ERROR_HEADERS)), b"")
    if answer.body.startswith(_TIMED_OUT):
        return _failure(FUNCTION_ERROR, _text(answer.body), answer)
    try:
        found = orjson.loads(answer.body) if answer.body.strip() else None
    except orjson.JSONDecodeError:
        if error_type:
            return _failure(FUNCTION_ERROR, _text(answer.body), answer)
        # Without reports it may be whatever the function returned.
        return _failure(MALFORMED, _text(answer.body), answer) if reports else BatchResult(None)
    if error_type or _is_error(found):
        return _failure(FUNCTION_ERROR, _error_text(found) or _text(error_type), answer)
    if not reports:
        return BatchResult(None)
    if answer.truncated:
        return _failure(MALFORMED, "the answer is too long", answer)
    try:
        return BatchResult(None, _failed_items(found, ids))
    except ValueError as error:
        return _failure(MALFORMED, str(error), answer)


def _failed_items(found: Any, ids: Collection[str]) -> frozenset[str]:
    """Return the ids that an answer names. Raise ValueError if it isn't sure which messages it means."""
    if found is None or found in ("", {}):
        return frozenset()
    if not isinstance(found, dict):
        raise ValueError("the answer isn't a JSON object")
    items = found.get("batchItemFailures")
    if items is None:
        return frozenset()
    if not isinstance(items, list):
        raise ValueError("batchItemFailures isn't a list")
    failed = set()
    for item in items:
        identifier = item.get("itemIdentifier") if isinstance(item, dict) else None
        if not isinstance(identifier, str) or not identifier:
            raise ValueError("an element of batchItemFailures has no itemIdentifier")
        if identifier not in ids:
            raise ValueError(f"itemIdentifier {identifier[:100]!r} isn't the id of a message of the batch")
        failed.add(identifier)
    return frozenset(failed)


def _is_error(found: Any) -> bool:
    """Return whether an answer is the error object that a runtime reports for a function that failed."""
    if not isinstance(found, dict) or "batchItemFailures" in found:
        return False
    return isinstance(found.get("errorMessage"), str) or isinstance(found.get("errorType"), str)


def _error_text(found: Any) -> str:
    if not isinstance(found, dict):
        return ""
    parts = (found.get("errorType"), found.get("errorMessage"))
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def _text(body: bytes) -> str:
    return body[:_LONGEST_DETAIL].decode(errors="replace").strip()


def _failure(reason: str, detail: str, answer: Answer) -> BatchResult:
    return BatchResult(Failure(reason, detail[:_LONGEST_DETAIL], answer.duration))
