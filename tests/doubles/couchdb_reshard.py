"""Splitting of shards: jobs that walk through eleven states, each `delay` seconds long, and change the shard map."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING

from attrs import define, field
from doubles.couchdb_http import Answer, Call, bad, iso, not_found, parse, reply
from doubles.couchdb_store import Database, halves
from doubles.couchdb_terms import Json

if TYPE_CHECKING:
    from doubles.couchdb import CouchDBDouble

STEPS = [
    "initial_copy",
    "topoff1",
    "build_indices",
    "topoff2",
    "copy_local_docs",
    "update_shardmap",
    "wait_source_close",
    "topoff3",
    "source_delete",
]
"""Between `new` and `completed`."""

DISABLED = "Shard splitting disabled"
BAD_STATE = "State field not `running` or `stopped`"
RANGE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}\Z")
SHARD = re.compile(r"shards/([0-9a-f]{8}-[0-9a-f]{8})/(.+)\.(\d+)\Z")


@define(kw_only=True, eq=False)
class Split:
    id: str
    database: Database
    span: str
    node: str
    state: str = "new"
    step: str = "new"
    info: Json = field(factory=dict)
    started: float = 0.0
    updated: float = 0.0
    history: list[Json] = field(factory=list)
    by_hand: bool = False
    """Stopped by itself, not by the switch for all: that switch does not resume it."""
    work: asyncio.Task[None] | None = None

    @property
    def source(self) -> str:
        return shard_name(self.span, self.database)

    def note(self, now: float, kind: str, detail: str | None) -> None:
        self.updated = now
        self.history.append({"timestamp": iso(now), "type": kind, "detail": detail})


def shard_name(span: str, database: Database) -> str:
    return f"shards/{span}/{database.name}.{database.created}"


class Resharder:
    def __init__(self, couch: CouchDBDouble) -> None:
        self.couch = couch
        self.jobs: dict[str, Split] = {}
        self.state = "running"
        self.reason: str | None = None

    def answer(self, call: Call) -> Answer:
        match call.parts[1:]:
            case [] | [""]:
                call.allow("GET", "HEAD", request_id=False)
                return self.summary()
            case ["state"]:
                call.allow("GET", "HEAD", "PUT", request_id=False)
                return self.switch(call)
            case ["jobs"]:
                call.allow("GET", "HEAD", "POST", request_id=False)
                return self.create(call) if call.method == "POST" else self.listed()
            case ["jobs", name]:
                call.allow("GET", "HEAD", "DELETE", request_id=False)
                return self.one(call, name)
            case ["jobs", name, "state"]:
                call.allow("GET", "HEAD", "PUT", request_id=False)
                return self.steer(call, name)
        raise not_found()

    def found(self, name: str) -> Split:
        if name not in self.jobs:
            raise not_found()
        return self.jobs[name]

    @property
    def reachable(self) -> list[Split]:
        return [job for job in self.jobs.values() if self.couch.alive([job.node])]

    def summary(self) -> Answer:
        states = [job.state for job in self.reachable]
        counts = {name: states.count(name) for name in ("completed", "failed", "running", "stopped")}
        head = {"state": self.state, "state_reason": self.reason}
        return reply(head | counts | {"total": len(states)}, request_id=False)

    def switch(self, call: Call) -> Answer:
        """The switch for all. It takes `reason`; `state_reason` is what only the summary calls it."""
        if call.method != "PUT":
            return reply({"state": self.state, "reason": self.reason}, request_id=False)
        body = wanted_state(call)
        if body["state"] == "stopped":
            self.reason = body.get("reason", self.reason)
            for job in self.jobs.values():
                if job.state in {"new", "running"}:
                    self.halt(job, DISABLED)
        else:
            self.reason = None
        self.state = body["state"]
        if self.state == "running":
            for job in self.jobs.values():
                if job.state == "stopped" and not job.by_hand:
                    self.resume(job)
        return reply({"ok": True}, request_id=False)

    def listed(self) -> Answer:
        rows = [shown(job) for _, job in sorted(self.jobs.items()) if job in self.reachable]
        return reply({"total_rows": len(rows), "offset": 0, "jobs": rows}, request_id=False)

    def one(self, call: Call, name: str) -> Answer:
        job = self.found(name)
        if call.method != "DELETE":
            return reply(shown(job), request_id=False)
        if job.work is not None:
            job.work.cancel()
        del self.jobs[job.id]
        return reply({"ok": True}, request_id=False)

    def steer(self, call: Call, name: str) -> Answer:
        call.read()
        job = self.found(name)
        if call.method != "PUT":
            return reply({"state": job.state, "reason": job.info.get("reason")}, request_id=False)
        body = wanted_state(call)
        if body["state"] == "stopped" and job.state in {"new", "running", "stopped"}:
            job.by_hand = True
            self.halt(job, body.get("reason"))
        if body["state"] == "running" and job.state == "stopped":
            self.resume(job)
        return reply({"ok": True}, request_id=False)

    def halt(self, job: Split, reason: str | None) -> None:
        if job.work is not None:
            job.work.cancel()
        if job.state != "stopped":
            job.note(self.couch.now(), "stopped", reason)
        job.state, job.info = "stopped", {"reason": reason}

    def resume(self, job: Split) -> None:
        job.by_hand = False
        if self.state == "running":
            job.work = self.couch.spawn(self.run(job), name=f"reshard {job.id}")

    def create(self, call: Call) -> Answer:
        """One job for each copy of each shard that is meant; 500 with an array where none could be made."""
        made = [self.begin(database, span, node) for database, span, node in self.meant(parse(call.read()))]
        if not made:
            raise not_found()
        return reply(made, 201 if any("ok" in row for row in made) else 500, request_id=False)

    def meant(self, body: Json) -> list[tuple[Database, str, str]]:
        if body.get("type") != "split":
            raise bad("`job type must be `split`")
        if "db" in body and "shard" in body:
            raise bad("`db` and `shard` are mutually exclusive")
        if "db" not in body and "shard" not in body:
            raise bad("Must specify at least `db` or `shard`")
        name, span = body.get("db"), body.get("range")
        if "shard" in body:
            shard = SHARD.match(body["shard"])
            if shard is None:
                raise bad("`shard` is invalid")
            span, name = shard[1], shard[2]
        if span is not None and not RANGE.match(span):
            raise bad("Invalid `range`")
        node = body.get("node")
        if node is not None and node not in self.couch.members:
            raise bad("`node` is not a valid node name")
        database = self.couch.state.databases.get(name)
        if database is None:
            raise bad("Invalid `db`") if "db" in body else not_found()
        placed = self.couch.placement(database)
        return [
            (database, one, copy)
            for one, copies in sorted(placed.items(), reverse=True)
            for copy in sorted(copies, reverse=True)
            if span in {None, one} and node in {None, copy} and self.couch.alive([copy])
        ]

    def begin(self, database: Database, span: str, node: str) -> Json:
        shard = shard_name(span, database)
        name = "001-" + hashlib.sha256(f"{shard}{node}".encode()).hexdigest()
        if name in self.jobs:
            return {"error": "job_already_exists", "node": node, "shard": shard}
        job = Split(id=name, database=database, span=span, node=node)
        job.note(self.couch.now(), "new", None)
        self.jobs[name] = job
        if self.state == "stopped":
            self.halt(job, DISABLED)
        else:
            self.resume(job)
        return {"ok": True, "id": name, "node": node, "shard": shard}

    async def run(self, job: Split) -> None:
        job.state, job.info = "running", {}
        job.started = job.started or self.couch.now()
        left = STEPS[STEPS.index(job.step) :] if job.step in STEPS else STEPS
        for step in left:
            job.step = step
            job.note(self.couch.now(), "running", step)
            await self.couch.step()
            if self.couch.reshard_fails is not None and step == "build_indices":
                job.state, job.info = "failed", {"reason": self.couch.reshard_fails}
                job.note(self.couch.now(), "failed", self.couch.reshard_fails)
                return
        job.database.splits.append((job.node, job.span))
        job.state = job.step = "completed"
        job.note(self.couch.now(), "completed", None)


def wanted_state(call: Call) -> Json:
    body = parse(call.read())
    if "state" not in body:
        raise bad("Expected a `state` field")
    if body["state"] not in {"running", "stopped"}:
        raise bad(BAD_STATE)
    return body


def shown(job: Split) -> Json:
    return {
        "id": job.id,
        "type": "split",
        "source": job.source,
        "target": [shard_name(span, job.database) for span in halves(job.span)],
        "job_state": job.state,
        "split_state": job.step,
        "state_info": job.info,
        "node": job.node,
        "start_time": iso(job.started),
        "update_time": iso(job.updated),
        "history": job.history,
    }
