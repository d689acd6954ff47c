"""The way of one call through a gate, to SQS and back, with the faults that it meets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from scripts.faults.gate_calls import DELETES, RECEIPT_ACTIONS, RECEIVE, SENDS, Answer, Call
from scripts.faults.gate_faults import AFTER, BEFORE, ERRORS, ShownFault, error_answer, failed_entry, invalid_receipts

if TYPE_CHECKING:
    from scripts.faults.gate import Gate
    from scripts.faults.gate_connection import GateConnection


class Exchange:
    """A call, from the last byte of its request to the last of its answer."""

    def __init__(self, gate: Gate, client: GateConnection, call: Call) -> None:
        self.call = call
        self._gate = gate
        self._client = client
        self._began = time.monotonic()
        self._failed: list[dict[str, object]] = []
        self._replay: ShownFault | None = None
        self._recorded: frozenset[str] = frozenset()
        self._message_ids: list[str] = []

    def begin(self) -> None:
        """Show the faults that come before SQS, or pass the call on."""
        call = self.call
        if call.action in RECEIPT_ACTIONS:
            self._message_ids = [self._gate.notes.id_of(entry.get("ReceiptHandle")) for entry in call.entries]
        delay = 0.0
        for shown in self._gate.shown:
            if not shown.draw(call, BEFORE):
                continue
            if shown.fault.kind == "slow":
                delay += shown.fault.seconds
            elif shown.fault.kind == "partial":
                self._fail_entries(shown)
            elif shown.fault.kind == "duplicate-receive":
                self._make_room(shown)
            else:
                self._refuse(shown)
                return
        if self._failed and not call.entries:
            self._finish(Answer.of({"Successful": [], "Failed": self._failed}))
        elif delay:
            self._gate.loop.call_later(delay, self._forward)
        else:
            self._forward()

    def _refuse(self, shown: ShownFault) -> None:
        kind = shown.fault.kind
        self._note_held(kind)
        if kind in ERRORS:
            self._finish(error_answer(kind, shown.chance))
        elif kind == "invalid-receipt":
            self._finish(invalid_receipts(self.call))
        elif kind == "reset":
            self._client.reset()

    def _fail_entries(self, shown: ShownFault) -> None:
        failed = [entry for entry in self.call.entries if shown.chance.random() < shown.fault.amount]
        self._failed += [failed_entry(entry) for entry in failed]
        self.call.change(Entries=[entry for entry in self.call.entries if entry not in failed])
        self._gate.notes.note_held(
            f"{shown.fault.kind} of {self.call.action}",
            [self._gate.notes.id_of(entry.get("ReceiptHandle")) for entry in failed],
        )

    def _make_room(self, shown: ShownFault) -> None:
        """Ask for one message less, so that there is room for one that came before."""
        asked = self.call.parameters.get("MaxNumberOfMessages", 1)
        if asked > 1 and not self.call.queue_url.endswith(".fifo"):
            self._replay = shown
            self.call.change(MaxNumberOfMessages=asked - 1)

    def _forward(self) -> None:
        call, gate = self.call, self._gate
        if call.action == RECEIVE and self._client.gone:
            return
        if call.action in DELETES:
            self._message_ids = [gate.notes.id_of(entry.get("ReceiptHandle")) for entry in call.entries]
            self._recorded = frozenset(gate.deletable(self._message_ids))
            if gate.before_delete is not None:
                gate.before_delete(self._message_ids)
        self._forwarded = time.monotonic()
        self._client.upstream.ask(call.render(), self._answered)

    def _answered(self, answer: Answer | None) -> None:
        call, gate = self.call, self._gate
        if call.action in DELETES:
            gate.notes.note_deletes(self._forwarded, call, self._recorded, answer)
        if answer is None:
            self._note_held("no answer of SQS")
            self._client.reset()
            return
        if call.action in DELETES and gate.after_delete is not None:
            gate.after_delete(self._message_ids)
        if call.action in SENDS:
            gate.notes.note_sends(call, answer)
        if self._failed:
            _add_failures(answer, self._failed)
        self._spoil_or_finish(answer)

    def _spoil_or_finish(self, answer: Answer) -> None:
        spoiling = next((shown for shown in self._gate.shown if self._is_spoiled_by(shown)), None)
        lost = spoiling is not None or self._client.gone
        if self.call.action == RECEIVE:
            messages = answer.fields().get("Messages") or []
            if self._replay is not None and not lost:
                self._add_replay(self._replay, answer, messages)
            self._gate.notes.note_received(self.call, messages, lost=lost)
        if spoiling is None:
            self._finish(answer)
            return
        self._note_held(spoiling.fault.kind)
        if spoiling.fault.kind == "cut":
            self._client.cut(answer, spoiling.fault.amount)
        elif spoiling.fault.kind == "lost-answer":
            self._client.reset()

    def _is_spoiled_by(self, shown: ShownFault) -> bool:
        # A black hole loses what was on its way when it opened too: the answers of long polls.
        newer = {"black-hole"} if shown.since > self._began else set()
        return shown.draw(self.call, AFTER | newer)

    def _add_replay(self, shown: ShownFault, answer: Answer, messages: list[dict[str, Any]]) -> None:
        replayed = self._gate.notes.replay(self.call, messages, shown.chance)
        if replayed is not None and answer.status == 200:
            messages.append(replayed)
            answer.body = orjson.dumps({**answer.fields(), "Messages": messages})
            self._gate.notes.note_held(shown.fault.kind, [replayed["MessageId"]])

    def _note_held(self, kind: str) -> None:
        self._gate.notes.note_held(f"{kind} of {self.call.action}", self._message_ids)

    def _finish(self, answer: Answer) -> None:
        self._client.answer(answer)


def _add_failures(answer: Answer, failed: list[dict[str, object]]) -> None:
    if answer.status == 200:
        fields = answer.fields()
        answer.body = orjson.dumps({**fields, "Failed": [*fields.get("Failed", []), *failed]})
