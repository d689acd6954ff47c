"""The demo's account: what was sent, held against what the receiver, the audit log and the queue say."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from courier.audit.reader import read_records


@dataclass(frozen=True, slots=True)
class Account:
    """How many messages were sent, came to the receiver, are in the audit log, left the queue.

    ``duplicates`` are deliveries beyond the first of a message, ``lost`` the sent messages that are missing at the
    receiver or in the audit log; ``rate`` is deliveries a second.
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
        """Tell it in one line."""
        return (
            f"sent {self.sent} delivered {self.delivered} audited {self.audited} deleted {self.deleted} "
            f"duplicates {self.duplicates} lost {self.lost} rate {self.rate:,.0f} msg/s"
        )


def settle_account(
    sent: Collection[str], delivered: set[str], audit: Path, *, left: int, requests: int, seconds: float
) -> Account:
    """Make the account from the ids that were sent and those that the receiver has, the audit directory,
    the number of messages ``left`` in the queue, and the receiver's requests and the seconds that they took.
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
