"""What a server is busy with: one class for each kind of task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from aetcd.couchdb._codec import instant, read

__all__ = ["ActiveTask", "CompactionTask", "IndexerTask", "ReplicationTask", "read_task"]


@frozen(kw_only=True)
class ActiveTask:
    """A task of a kind that has no class of its own; those that have are below.

    type: `database_compaction`, `view_compaction`, `indexer`, `replication`, or another word.
    node, process_status: Not in the reference; sent by 3.x.
    database: On 3.x the path of one shard: a database of two shards has two tasks. None of a replication that no
        document asked for.
    progress: Percent, where the server tells.
    extra: What the server tells beyond the fields here.
    """

    type: str
    pid: str = ""
    node: str | None = None
    database: str | None = None
    progress: int | None = None
    process_status: str | None = None
    started: datetime | None = field(default=None, metadata=instant("started_on"))
    updated: datetime | None = field(default=None, metadata=instant("updated_on"))
    extra: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class CompactionTask(ActiveTask):
    """A database's or a view's file is being rewritten.

    phase: `document_copy` and others. Not in the reference.
    design_document: Whose views; None of a database's own compaction.
    """

    changes_done: int = 0
    total_changes: int = 0
    phase: str | None = None
    design_document: str | None = None


@frozen(kw_only=True)
class IndexerTask(ActiveTask):
    """Views of one design document are being built."""

    design_document: str = ""
    changes_done: int = 0
    total_changes: int = 0
    indexer_pid: str | None = None


@frozen(kw_only=True)
class ReplicationTask(ActiveTask):
    """A replication that is running now. One that waits for its turn is not here: see `couch.scheduler`.

    replication_id: As `_scheduler/jobs` has it.
    doc_id: Of the document that asked for it; None of one by `replicate()`.
    changes_pending: None where the server does not know yet.
    checkpoint_interval: Seconds between checkpoints.
    """

    replication_id: str = ""
    source: str = ""
    target: str = ""
    continuous: bool = False
    doc_id: str | None = None
    user: str | None = None
    docs_read: int = 0
    docs_written: int = 0
    doc_write_failures: int = 0
    missing_revisions_found: int = 0
    revisions_checked: int = 0
    changes_pending: int | None = None
    checkpoint_interval: float | None = None
    bulk_get_docs: int = 0
    bulk_get_attempts: int = 0
    source_seq: str | int | None = None
    through_seq: str | int | None = None
    checkpointed_source_seq: str | int | None = None


_KINDS: Mapping[str, type[ActiveTask]] = {
    "database_compaction": CompactionTask,
    "view_compaction": CompactionTask,
    "indexer": IndexerTask,
    "replication": ReplicationTask,
}


def read_task(raw: Mapping[str, Any]) -> ActiveTask:
    """A task as the class of its kind."""
    kind = _KINDS.get(str(raw.get("type")), ActiveTask)
    interval = raw.get("checkpoint_interval")
    if kind is ReplicationTask and isinstance(interval, int):
        # The server counts in milliseconds.
        return read(kind, raw, checkpoint_interval=interval / 1000)
    return read(kind, raw)
