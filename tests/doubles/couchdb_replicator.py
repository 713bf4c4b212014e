"""Replications: those asked for at once, those of documents, and the scheduler's view of both.

They copy for real, between databases of this double or of another one of the same process.
`couch.replication_fails` makes the next ones fail: `"db_not_found"`, `"unauthorized"` (403), or any other reason.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from doubles.couchdb_copying import NOTHING, Copier, Failed, Job, endpoint
from doubles.couchdb_http import Answer, Call, Problem, bad, iso, not_found, parse, reply
from doubles.couchdb_terms import Json, digest

if TYPE_CHECKING:
    from doubles.couchdb import CouchDBDouble

EXCLUSIVE = "`doc_ids`,`filter`,`selector` are mutually exclusive"
MISSING = "Missing replicator database"
IDENTITY = ("doc_ids", "filter", "selector", "query_params", "create_target", "continuous", "since_seq")


class Replicator(Copier):
    def __init__(self, couch: CouchDBDouble) -> None:
        super().__init__(couch)
        self.jobs: dict[str, Job] = {}
        self.documents: dict[tuple[str, str], Job] = {}

    @property
    def running(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == "running"]

    def identify(self, body: Json) -> str:
        """The same request has the same id, whoever sends it and with whatever password."""
        chosen = {name: body[name] for name in IDENTITY if body.get(name)}
        base = digest(self.couch.state.uuid, endpoint(body["source"]), endpoint(body["target"]), chosen)
        flags = [name for name in ("continuous", "create_target") if body.get(name)]
        return "+".join([base, *flags])

    # POST /_replicate

    async def replicate(self, call: Call) -> Answer:
        content = call.read()
        if not content:
            raise bad("Missing request body")
        call.expect_json()
        body = parse(content)
        if call.user.name is None:
            raise Problem(401, "unauthorized", "You are not an authenticated user")
        if body.get("cancel"):
            return self.cancel(body)
        check(body)
        job = self.job(body, call)
        if body.get("continuous"):
            self.start(job)
            return reply({"ok": True, "_local_id": job.id}, 202)
        return await self.once(job)

    def job(self, body: Json, call: Call) -> Job:
        return Job(id=self.identify(body), body=body, node=call.node.name, user=call.user.name)

    async def once(self, job: Job) -> Answer:
        self.schedule(job, run=False)
        try:
            self.begin(job)
            await self.couch.step()
            return reply(self.copy(job))
        except Failed as failed:
            raise failed.answer from None
        finally:
            self.jobs.pop(job.id, None)

    def start(self, job: Job) -> None:
        if job.id not in self.jobs:
            self.schedule(job)

    def cancel(self, body: Json) -> Answer:
        name = body.get("replication_id") or body.get("id") or self.identify(body)
        job = self.jobs.get(name)
        if job is None:
            raise not_found()
        self.remove(job)
        return reply({"ok": True, "_local_id": name})

    def remove(self, job: Job) -> None:
        self.jobs.pop(job.id, None)
        if job.work is not None:
            job.work.cancel()

    # Documents of _replicator

    def accept(self, call: Call, body: dict[str, Json]) -> dict[str, Json]:
        """What the database itself asks of a replication's document, and the owner that it adds."""
        if "source" not in body or "target" not in body:
            raise Problem(403, "forbidden", MISSING)
        if "owner" in body or "user_ctx" in body:
            return body
        state = {name: value for name, value in body.items() if name.startswith("_replication")}
        return {name: value for name, value in body.items() if name not in state} | {"owner": call.user.name} | state

    def document_changed(self, database: str, doc_id: str) -> None:
        doc = self.couch.state.databases[database].documents[doc_id]
        old = self.documents.pop((database, doc_id), None)
        if old is not None and self.jobs.get(old.id) is old:
            self.remove(old)
        if doc.winner.deleted or doc_id.startswith("_design/") or "_replication_state" in doc.winner.body:
            return
        body = doc.winner.body
        node = self.couch.nodes[0].name
        job = Job(id=self.identify(body), body=body, node=node, user=None, database=database, doc_id=doc_id)
        self.documents[database, doc_id] = job
        other = self.jobs.get(job.id)
        if other is not None:
            reason = (
                f"Replication `{job.id}` specified by document `{doc_id}` already started, "
                f"triggered by document `{other.doc_id}` from db `{other.database}`"
            )
            self.begin(job)
            job.errors = 1
            self.finish(job, "failed", {"error": reason}, reason)
            return
        self.schedule(job)

    def schedule(self, job: Job, *, run: bool = True) -> None:
        now = iso(self.couch.now())
        job.history = [{"timestamp": now, "type": "added"}]
        job.started = job.updated = self.couch.now()
        self.jobs[job.id] = job
        if run:
            job.work = self.couch.spawn(self.run(job), name=f"replication {job.id}")

    def begin(self, job: Job) -> None:
        job.state = "running"
        job.started = job.started or self.couch.now()
        job.updated = self.couch.now()
        job.history.insert(0, {"timestamp": iso(job.updated), "type": "started"})

    async def run(self, job: Job) -> None:
        """From `initializing` over `pending` to `running`, then to an end, or on and on. A failure is tried again."""
        if job.doc_id is not None:
            await asyncio.sleep(self.couch.delay)
            job.state = "pending"
            await asyncio.sleep(self.couch.delay)
        while not job.final:
            self.begin(job)
            try:
                await self.attempt(job)
            except Failed as failed:
                await self.crashed(job, str(failed))

    async def attempt(self, job: Job) -> None:
        """Once through the source, or for ever where it is continuous."""
        await self.couch.step()
        self.open(job.body["source"])
        self.open(job.body["target"], create=bool(job.body.get("create_target")))
        job.copied = job.copied or NOTHING
        await self.couch.step()
        self.copy(job)
        while job.body.get("continuous"):
            await self.changed_at(job)
            self.copy(job)
            job.through = job.copied["checkpointed_source_seq"]
        self.finish(job, "completed", job.copied, None)

    async def crashed(self, job: Job, reason: str) -> None:
        if "econnrefused" in reason:
            await asyncio.sleep(20 * self.couch.delay)  # its HTTP client tries for a while first
            await self.couch.hold.wait()
        job.state, job.errors, job.updated = "crashing", job.errors + 1, self.couch.now()
        job.info = {"error": reason}
        job.history.insert(0, {"timestamp": iso(job.updated), "type": "crashed", "reason": reason})
        await asyncio.sleep(max(20 * self.couch.delay, 0.2))
        await self.couch.hold.wait()

    async def changed_at(self, job: Job) -> None:
        """Waits until the source has something new."""
        source = self.open(job.body["source"])
        seen, watcher = source.sequence, asyncio.Event()
        source.watchers.add(watcher)
        try:
            while source.sequence == seen and not source.gone:
                watcher.clear()
                await watcher.wait()
        finally:
            source.watchers.discard(watcher)

    def finish(self, job: Job, state: str, info: Json, reason: str | None) -> None:
        """The end of a document's replication is written into the document."""
        self.jobs.pop(job.id, None) if self.jobs.get(job.id) is job else None
        job.state, job.info, job.reason, job.updated = state, info, reason, self.couch.now()
        found = self.couch.state.databases.get(job.database or "")
        if found is None or job.doc_id is None:
            return
        doc = found.documents[job.doc_id]
        body = {**doc.winner.body, "_replication_state": state, "_replication_state_time": iso(job.updated)}
        if reason is not None:
            body["_replication_state_reason"] = reason
        else:
            body["_replication_stats"] = {**info, "start_time": iso(job.started)}
        found.write(job.doc_id, body, rev=doc.winner.rev)


def check(body: Json) -> None:
    if "source" not in body or "target" not in body:
        raise Problem(500, "error", MISSING)
    if len({"doc_ids", "filter", "selector"} & set(body)) > 1:
        raise bad(EXCLUSIVE)
