"""What `/_scheduler` and `/_active_tasks` show of replications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doubles.couchdb_copying import Job, endpoint
from doubles.couchdb_http import Answer, Call, Problem, bad, iso, no_database, not_found, reply
from doubles.couchdb_terms import Json
from doubles.couchdb_views import listing

if TYPE_CHECKING:
    from doubles.couchdb_replicator import Replicator

STATES = ["initializing", "error", "running", "pending", "crashing", "completed", "failed"]


def scheduler(replicator: Replicator, call: Call) -> Answer:
    match call.parts[1:]:
        case ["jobs"]:
            call.allow("GET", "HEAD")
            return listed_jobs(replicator, call)
        case ["jobs", name]:
            call.allow("GET", "HEAD")
            return reply(shown_job(known(replicator.jobs.get(name))))
        case ["docs", *path]:
            call.allow("GET", "HEAD")
            return docs(replicator, call, "/".join(path).split("/") if path else ["_replicator"])
    # The one error of the server without a reason.
    return reply({"error": "not found"}, 404)


def known(job: Job | None) -> Job:
    if job is None:
        raise not_found()
    return job


def listed_jobs(replicator: Replicator, call: Call) -> Answer:
    limit, skip = window(call)
    rows = [shown_job(job) for _, job in sorted(replicator.jobs.items())]
    return reply({"total_rows": len(rows), "offset": skip, "jobs": rows[skip:][:limit]})


def shown_job(job: Job) -> Json:
    pid = f"<0.{8000 + len(job.id)}.0>" if job.state == "running" else None
    return {
        "database": job.database,
        "id": job.id,
        "pid": pid,
        "source": endpoint(job.body["source"]),
        "target": endpoint(job.body["target"]),
        "user": job.user,
        "doc_id": job.doc_id,
        "info": None if job.through is None else {**job.copied, **progress(job)},
        "history": job.history,
        "node": job.node,
        "start_time": iso(job.started),
    }


def docs(replicator: Replicator, call: Call, path: list[str]) -> Answer:
    """`docs`, `docs/{db}`, `docs/{db}/{docid}`; a slash in the name of the database may be escaped or not."""
    cut = next((index + 1 for index, part in enumerate(path) if part == "_replicator"), None)
    if cut is None:
        raise bad("Invalid path")
    name, rest = "/".join(path[:cut]), path[cut:]
    if name not in replicator.couch.state.databases:
        raise no_database()
    if rest:
        return reply(shown_doc(known(replicator.documents.get((name, "/".join(rest))))))
    limit, skip = window(call)
    states = [one for one in call.query.get("states", "").split(",") if one]
    if set(states) - set(STATES):
        listed = ",".join(STATES)
        raise Problem(400, "query_parse_error", f"States must be one or more of [{listed}]")
    down = call.flag("descending")
    jobs = [job for key, job in sorted(replicator.documents.items(), reverse=down) if key[0] == name]
    rows = [shown_doc(job) for job in jobs if not states or job.state in states]
    head = {"total_rows": len(jobs), "offset": skip}
    return Answer(body=listing("docs", rows[skip:][:limit], head) + b"\n", chunked=True)


def shown_doc(job: Job) -> Json:
    found: Json = {"database": job.database, "doc_id": job.doc_id, "id": None if job.final else job.id}
    if not job.final:
        found["node"] = job.node
    found |= {"source": endpoint(job.body["source"]), "target": endpoint(job.body["target"]), "state": job.state}
    if job.final:
        times = {"start_time": iso(job.started), "last_updated": iso(job.updated)}
        return found | {"error_count": job.errors, "info": job.info} | times
    proxies = {f"{side}_proxy": job.body.get(f"{side}_proxy", job.body.get("proxy")) for side in ("source", "target")}
    times = {"last_updated": iso(job.updated), "start_time": iso(job.started)}
    return found | {"info": job.info, "error_count": job.errors} | times | proxies


def progress(job: Job) -> Json:
    return {} if job.through is None else {"source_seq": job.through, "through_seq": job.through}


def tasks(replicator: Replicator) -> list[Json]:
    """Running replications as `_active_tasks` shows them, once they have copied."""
    return [task(job) for job in replicator.running if job.copied is not None]


def task(job: Job) -> Json:
    head = {"node": job.node, "pid": f"<0.{8000 + len(job.id)}.0>", "process_status": "waiting"}
    database = None if job.database is None else f"shards/80000000-ffffffff/{job.database}.{int(job.started)}"
    rest = {
        **job.copied,
        "checkpoint_interval": 30000,
        "continuous": bool(job.body.get("continuous")),
        "database": database,
        "doc_id": job.doc_id,
        "replication_id": job.id,
        "source": endpoint(job.body["source"]),
        "source_seq": "0",
        **progress(job),
        "started_on": int(job.started),
        "target": endpoint(job.body["target"]),
        "type": "replication",
        "updated_on": int(job.updated),
        "user": job.user,
    }
    return head | dict(sorted(rest.items()))


def window(call: Call) -> tuple[int, int]:
    found = []
    for name, default in (("limit", "1000000"), ("skip", "0")):
        text = call.query.get(name, default)
        if not text.isdigit():
            raise Problem(400, "query_parse_error", f"{name} must be an integer")
        found.append(int(text))
    return found[0], found[1]
