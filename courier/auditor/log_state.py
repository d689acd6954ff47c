"""The state of the audit log, as its last write or probe showed it."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from courier.board.audit_states import FAILING, LOSING, WELL
from courier.errors import AuditError
from courier.log.outage import Outage

log = structlog.get_logger("courier.audit")


class LogState:
    """The state of the audit log, passed to ``on_state`` and logged when it changes."""

    def __init__(self, on_state: Callable[[int], None], *, required: bool) -> None:
        self._on_state = on_state
        self._required = required
        self._state = WELL
        self._outage = Outage()

    @property
    def is_well(self) -> bool:
        """Whether the last write or probe succeeded."""
        return self._state == WELL

    def failed(self, error: AuditError, waiting: int) -> None:
        """Record a failed write or probe while ``waiting`` records wait."""
        if self._state == WELL:
            self._set(FAILING if self._required else LOSING)
        due = self._outage.failed(error.code or error.reason, time.monotonic(), time.time())
        if due is None:
            return
        if self._required:
            consequence = "nothing is deleted and intake pauses until it can be written again"
        else:
            consequence = "messages are deleted without their record until it can be written again"
        log.error(
            f"audit log failing: {consequence}",
            error=error.reason,
            advice=f"{error.advice}; Courier recovers by itself",
            waiting=waiting,
            **due,
        )

    def succeeded(self, lost: int) -> None:
        """Record that the log can be written; ``lost`` is the number of lost records."""
        failures = self._outage.worked(time.monotonic())
        if self._state != WELL:
            self._set(WELL)
        if failures:
            log.info("audit log can be written again", records_lost=lost, failures=failures)

    def _set(self, state: int) -> None:
        self._state = state
        self._on_state(state)
