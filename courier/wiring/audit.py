"""The audit log's side: from a Config to the recorder of the senders and the log of the auditor."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from courier.audit.archive_place import ArchiveSettings
from courier.audit.compression import Compression
from courier.audit.event import EventRecorder, event_recorder, no_events
from courier.audit.files import CLOSE_SECONDS, AuditFiles
from courier.audit.firehose_batch import firehose_recorder
from courier.audit.ids_file import IdsFiles
from courier.audit.lock import DirectoryLock
from courier.audit.record import SENT_BYTES, Recorder, recorder
from courier.audit.recorded_ids import RecordedIds
from courier.audit.retention import Retention
from courier.audit.retention_plan import Limits
from courier.audit.sealing import ChoreMaker
from courier.audit.segment import JSON_LINES, TEXT, Segment
from courier.audit.sign_key import read_sign_key
from courier.audit.stream import Stream
from courier.auditor.dedupe import Dedupe
from courier.auditor.log_thread import AuditLog
from courier.config.config import Config
from courier.process import scoreboard
from courier.process.scoreboard import Slot
from courier.sqs.queue import QueueInfo


def audit_stream(config: Config, queue: QueueInfo | None) -> Stream:
    """Return the Firehose stream, by default in the region of the queue."""
    region = None if queue is None else queue.region
    return Stream(config.firehose_stream, config.region, config.firehose_endpoint_url, fallback_region=region)


def archive_settings(config: Config, queue: QueueInfo | None) -> ArchiveSettings | None:
    """Return where the archive is, by default in the region of the queue; ``None`` without one."""
    if config.audit != "files" or config.audit_archive is None:
        return None
    region = config.region if config.region or queue is None else queue.region
    return ArchiveSettings(config.audit_archive, region, config.audit_archive_endpoint_url, Path(config.audit_path))


def audit_recorder(config: Config) -> Recorder | None:
    """Return the senders' recorder of audit records; ``None`` with ``--audit none``."""
    if config.audit == "none":
        return None
    if config.audit != "firehose":
        return recorder(config.audit_format, config.audit_body)
    sent_bytes = SENT_BYTES if records_sent(config) else 0
    if sent_bytes and config.chosen_path_attribute:
        # Imported here, because few programs let messages choose a path.
        from courier.request.paths import LONGEST_PATH

        sent_bytes += LONGEST_PATH
    return firehose_recorder(config.audit_format, config.audit_body, sent_bytes)


def records_sent(config: Config) -> bool:
    """Return whether records say what was sent, since that may be another body than was received, to a chosen path."""
    differs = bool(config.body_steps) or bool(config.chosen_path_attribute)
    return differs and config.audit != "none" and config.audit_format == "json"


def audit_events(config: Config, slot: Slot) -> EventRecorder:
    """Return the recorder of a worker's event lines."""
    if config.audit == "none" or config.audit_events == "delivered":
        return no_events
    return event_recorder(f"{slot.role} {slot.index}")


def open_audit_log(config: Config, queue: QueueInfo, slot: Slot) -> AuditLog | None:
    """Open and return the audit log; ``None`` with ``--audit none``. It blocks.

    Damaged lines are counted in the slot. Raise CannotStart if the log can't be opened.
    """
    if config.audit == "firehose":
        # Imported here, in the auditor's process, because boto3 is large and no other process needs its clients.
        from courier.audit.firehose import BRIEF, PATIENCE, FirehoseLog

        patience = PATIENCE if config.audit_policy == "required" else BRIEF
        stream = audit_stream(config, queue if config.queue_type == "remote" else None)
        firehose = FirehoseLog(stream, patience=patience)
        firehose.open()
        return firehose
    if config.audit == "files":
        # Never released: the kernel does that at the end of the process.
        lock = DirectoryLock(config.audit_path)
        lock.acquire(config.drain_timeout_seconds)
        suffix = TEXT if config.audit_format == "text" else JSON_LINES
        limits = config.audit_max_bytes, config.audit_max_age_seconds
        files = AuditFiles(config.audit_path, *limits, suffix=suffix, lock=lock)
        key = read_sign_key(config.audit_sign_key) if config.audit_sign_key is not None else None
        archive = archive_settings(config, queue if config.queue_type == "remote" else None)
        chores = audit_chores(config, archive, slot)
        finish_seconds = CLOSE_SECONDS if archive is None else math.inf
        files.open_at_once(lambda: count_damage(slot), key=key, chores=chores, finish_seconds=finish_seconds)
        return files
    return None


def audit_chores(config: Config, archive: ArchiveSettings | None, slot: Slot) -> list[ChoreMaker]:
    """Return what is done with sealed segments, in this order."""
    chores: list[ChoreMaker] = [lambda sealing: Compression(sealing, config.audit_packing)]
    is_archived: Callable[[Segment], bool] | None = None
    if archive is not None:
        # Imported here, because few programs have an archive.
        from courier.wiring.archive import ArchiveMaker

        maker = ArchiveMaker(config, archive, slot)
        chores.append(maker)
        is_archived = maker.has
    if config.audit_keep_seconds is not None or config.audit_keep_bytes is not None:
        limits = Limits(config.audit_keep_seconds, config.audit_keep_bytes, config.audit_max_bytes)
        chores.append(lambda sealing: Retention(sealing, limits, is_archived))
    return chores


def open_dedupe(config: Config, queue: QueueInfo, slot: Slot, log: AuditLog | None, window: RecordedIds) -> Dedupe:
    """Return the audit log with its dedupe window, which it loads in the background. ``log`` writes files."""
    assert isinstance(log, AuditFiles)
    ids = IdsFiles(config.audit_path, queue.url, config.dedupe_window)
    dedupe = Dedupe(log, window, ids, config.audit_path, slot.words)
    dedupe.start()
    return dedupe


def count_damage(slot: Slot) -> None:
    """Count a damaged line of the audit log; only the recovery's thread writes this word."""
    slot.words[scoreboard.AUDIT_DAMAGED] += 1
