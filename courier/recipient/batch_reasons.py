"""Why messages of a batch failed although the status of its answer was a success, and what to do about each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FUNCTION_ERROR: Final = "function error"
MALFORMED: Final = "batch answer malformed"
ITEM_FAILED: Final = "batch item failure"

BATCH_REASONS: Final[Mapping[str, str]] = {
    FUNCTION_ERROR: "see the function's log; all messages of its batch are tried again, in smaller batches",
    MALFORMED: "answer nothing, or an object whose batchItemFailures name messages of the batch; or set "
    "--batch-item-failures no",
    ITEM_FAILED: "see the function's log: it named this message in batchItemFailures",
}
