"""How a replication copies, for real, between databases of this double or of another one of the same process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from attrs import define, field
from doubles.couchdb_http import Problem, http_date
from doubles.couchdb_mango import matches
from doubles.couchdb_store import Database, Document, State
from doubles.couchdb_terms import Json, digest, pack_seq

if TYPE_CHECKING:
    from doubles.couchdb import CouchDBDouble

NOTHING: Json = {
    "revisions_checked": 0,
    "missing_revisions_found": 0,
    "docs_read": 0,
    "docs_written": 0,
    "changes_pending": None,
    "doc_write_failures": 0,
    "bulk_get_docs": 0,
    "bulk_get_attempts": 0,
    "checkpointed_source_seq": "0",
}


class Failed(Exception):
    """A replication that cannot go on: the status and the error of `_replicate`."""

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(f"{error}: {reason}")
        self.answer = Problem(status, error, reason)


@define(kw_only=True, eq=False)
class Job:
    """A replication that the scheduler knows."""

    id: str
    body: Json
    node: str
    user: str | None
    database: str | None = None
    doc_id: str | None = None
    state: str = "initializing"
    info: Json = None
    reason: str | None = None
    errors: int = 0
    history: list[Json] = field(factory=list)
    started: float = 0.0
    updated: float = 0.0
    copied: Json = None
    through: str | None = None
    """How far it has read, once it goes on after its first pass."""
    work: asyncio.Task[None] | None = None

    @property
    def final(self) -> bool:
        return self.state in {"completed", "failed"}


def endpoint(given: Json) -> str:
    """The address of a source or target without its credentials, with the slash that the server puts behind it."""
    text = given if isinstance(given, str) else given["url"]
    if "://" not in text:
        return f"{text}"
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}/"


def credentials(given: Json) -> tuple[str, str] | None:
    """Name and password in the URL or under `auth.basic`; a header counts as the admin's."""
    if isinstance(given, dict):
        basic = given.get("auth", {}).get("basic")
        if basic is not None:
            return basic["username"], basic["password"]
        given = given["url"]
    parts = urlsplit(given)
    return None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))


class Copier:
    """The passes of replications, and their checkpoints."""

    def __init__(self, couch: CouchDBDouble) -> None:
        self.couch = couch
        self.checkpoints: dict[str, list[Json]] = {}

    def copy(self, job: Job) -> Json:
        """One pass over all that is new at the source. Gives the answer of `_replicate`."""
        if self.couch.replication_fails is not None:
            raise self.ordered_failure(job)
        source = self.open(job.body["source"])
        target = self.open(job.body["target"], create=bool(job.body.get("create_target")))
        past = self.checkpoints.setdefault(job.id, [])
        before = past[0]["recorded"] if past else 0
        if past and before == source.sequence:
            return self.answer(job, past, source, unchanged=True)
        session = self.session(job, source, target, before)
        past.insert(0, session)
        job.copied = stats(session["row"])
        return self.answer(job, past, source, unchanged=False)

    def session(self, job: Job, source: Database, target: Database, before: int) -> Json:
        checked = missing = written = 0
        chosen = [doc for doc in source.documents.values() if source.order[doc.id] > before and wanted(job.body, doc)]
        for doc in chosen:
            for leaf in doc.leaves():
                checked += 1
                there = target.documents.get(doc.id)
                if there is None or leaf.rev not in there.revisions:
                    missing += 1
                    written += target.graft(doc.id, leaf, doc.history(leaf.rev)[1:])
        seq = self.seq(source, max((source.order[doc.id] for doc in chosen), default=source.sequence))
        now = http_date(self.couch.now())
        totals = {"missing_checked": checked, "missing_found": missing, "docs_read": missing, "docs_written": written}
        if self.checkpoints[job.id]:
            last = self.checkpoints[job.id][0]["row"]
            totals = {name: count + last[name] for name, count in totals.items()}  # over all sessions
        row = {
            "session_id": digest(job.id, now, source.sequence),
            "start_time": now,
            "end_time": now,
            "start_last_seq": 0 if before == 0 else self.seq(source, before),
            "end_last_seq": seq,
            "recorded_seq": seq,
            **totals,
            "doc_write_failures": 0,
            "bulk_get_docs": totals["docs_read"],
            "bulk_get_attempts": totals["docs_read"],
        }
        return {"recorded": source.sequence, "row": row, "seq": seq}

    def seq(self, source: Database, number: int) -> str:
        return pack_seq(number, source.uuid, self.couch.nodes[0].name)

    def answer(self, job: Job, past: list[Json], source: Database, *, unchanged: bool) -> Json:
        last = past[0]["row"]
        found: Json = {"ok": True}
        if unchanged:
            found["no_changes"] = True
        found |= {"session_id": last["session_id"], "source_last_seq": past[0]["seq"], "replication_id_version": 4}
        if "doc_ids" in job.body and not unchanged:
            names = ("start_time", "end_time", "docs_read", "docs_written", "doc_write_failures")
            found |= {name: last[name] for name in names}
        return found | {"history": [one["row"] for one in past]}

    def ordered_failure(self, job: Job) -> Failed:
        kind = self.couch.replication_fails or ""
        address = endpoint(job.body["source"])
        if kind == "db_not_found":
            return Failed(500, kind, f"could not open {address}")
        if kind == "unauthorized":
            return Failed(403, "forbidden", address)
        return Failed(500, "error", kind)

    def open(self, given: Json, *, create: bool = False) -> Database:
        """The database behind an address. Raises `Failed` as the server words it."""
        address = endpoint(given)
        if "://" not in address:
            return self.existing(self.couch.state, address, address, create=create)
        parts = urlsplit(address)
        home = self.couch.running_at(parts.netloc)
        if home is None:
            reason = (
                f'{{http_request_failed,"GET","{address}",\n'
                "                     {error,{error,{conn_failed,{error,econnrefused}}}}}"
            )
            raise Failed(500, "error", reason)
        self.admit(home, given, address)
        return self.existing(home.state, unquote(parts.path.strip("/")), address, create=create)

    def existing(self, state: State, name: str, address: str, *, create: bool) -> Database:
        if name not in state.databases:
            if not create:
                raise Failed(500, "db_not_found", f"could not open {address}")
            state.create(name)
        return state.databases[name]

    def admit(self, home: CouchDBDouble, given: Json, address: str) -> None:
        """As the source or target would: no credentials are anonymous, a header is taken at its word."""
        if isinstance(given, dict) and "Authorization" in given.get("headers", {}):
            return
        known = credentials(given)
        name = unquote(urlsplit(address).path.strip("/"))
        admins = home.config["admins"]
        if known is None:
            if home.state.databases.get(name) is not None:
                raise Failed(401, "unauthorized", f"unauthorized to access or create database {address}")
            return
        if admins.get(known[0]) == known[1]:
            return
        kept = home.gate.password(home, known[0])
        if kept is None or kept[0] != known[1]:
            origin = address.split("/")[2]
            reason = f'{{session_request_unauthorized,"http://{origin}/_session","{known[0]}"}}'
            raise Failed(500, "replication_auth_error", reason)
        if "_admin" in str(home.state.databases[name].security):
            raise Failed(403, "forbidden", address)


def wanted(body: Json, doc: Document) -> bool:
    if "doc_ids" in body:
        return doc.id in body["doc_ids"]
    if "selector" in body:
        return matches({"_id": doc.id, **doc.winner.body}, body["selector"])
    return True


def stats(row: Json) -> Json:
    return {
        "revisions_checked": row["missing_checked"],
        "missing_revisions_found": row["missing_found"],
        "docs_read": row["docs_read"],
        "docs_written": row["docs_written"],
        "changes_pending": None,
        "doc_write_failures": row["doc_write_failures"],
        "bulk_get_docs": row["bulk_get_docs"],
        "bulk_get_attempts": row["bulk_get_attempts"],
        "checkpointed_source_seq": row["recorded_seq"],
    }
