"""What stands in `_active_tasks` while the server is at work on its files, for `couch.tasks`."""

from __future__ import annotations

from doubles.couchdb_terms import Json

STARTED = 1795314797
LOW, HIGH = "00000000-7fffffff", "80000000-ffffffff"


def compaction(database: str, *, span: str = HIGH, done: int = 0, total: int = 30000) -> Json:
    rest = {"phase": "document_copy", "progress": 100 * done // total, "started_on": STARTED}
    kind = {"total_changes": total, "type": "database_compaction", "updated_on": STARTED}
    return head("<0.15322.0>") | {"changes_done": done, "database": shard(database, span)} | rest | kind


def indexing(database: str, design: str, *, span: str = HIGH, done: int = 0, total: int = 30000) -> Json:
    names = {"changes_done": done, "database": shard(database, span), "design_document": f"_design/{design}"}
    rest = {"indexer_pid": "<0.15304.0>", "progress": 100 * done // total, "started_on": STARTED}
    return head("<0.15368.0>") | names | rest | {"total_changes": total, "type": "indexer", "updated_on": STARTED}


def view_compaction(database: str, design: str, *, span: str = HIGH, done: int = 0, total: int = 45756) -> Json:
    names = {"changes_done": done, "database": shard(database, span), "design_document": f"_design/{design}"}
    rest = {"progress": 100 * done // total, "started_on": STARTED, "total_changes": total}
    return head("<0.17583.0>") | names | rest | {"type": "view_compaction", "updated_on": STARTED}


def head(pid: str) -> Json:
    return {"node": "n0@127.0.0.1", "pid": pid, "process_status": "waiting"}


def shard(database: str, span: str) -> str:
    return f"shards/{span}/{database}.1795314794"
