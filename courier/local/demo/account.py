"""The demo's account: what was sent, compared with the recipient, the audit log and the queue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from courier.audit.reader import read_records


@dataclass(frozen=True, slots=True)
class Account:
    """The numbers of messages that were sent, reached the recipient, are in the audit log, and left the queue.

    ``duplicates`` are deliveries of a message beyond its first. ``lost`` are sent messages missing at the recipient or
    in the audit log. ``rate`` is deliveries a second.
    """

    sent: int
    delivered: int
    audited: int
    deleted: int
    duplicates: int
    lost: int
    rate: float

    @property
    def complete(self) -> bool:
        """Whether every message was delivered, recorded and deleted."""
        return self.lost == 0 and self.deleted == self.sent

    def __str__(self) -> str:
        """Return the account as one line."""
        return (
            f"sent {self.sent} delivered {self.delivered} audited {self.audited} deleted {self.deleted} "
            f"duplicates {self.duplicates} lost {self.lost} rate {self.rate:,.0f} msg/s"
        )


def settle_account(
    sent: Collection[str], delivered: set[str], audit: Path, *, left: int, requests: int, seconds: float
) -> Account:
    """Return the account from the ids that were sent and those at the recipient, the audit directory, the number of
    messages ``left`` in the queue, and the recipient's requests and their seconds.
    """
    audited = {record.message_id for record in read_records(audit) if record.outcome == "delivered"}
    expected = set(sent)
    return Account(
        sent=len(expected),
        delivered=len(expected & delivered),
        audited=len(expected & audited),
        deleted=len(expected) - left,
        duplicates=requests - len(delivered),
        lost=len(expected - (delivered & audited)),
        rate=len(delivered) / seconds if seconds > 0 else float(len(delivered)),
    )
