"""What the server says of itself: its name, its health, uuids, tasks, members, the set-up, static files."""

from __future__ import annotations

import json

from doubles import couchdb_scheduler
from doubles.couchdb_http import Answer, Call, Problem, bad, crash, http_date, not_found, reply
from doubles.couchdb_terms import Json, etag

FEATURES = ["quickjs", "access-ready", "partitioned", "pluggable-storage-engines", "reshard", "scheduler"]
VENDOR = {"name": "The Apache Software Foundation"}
POLICY = (
    "child-src 'self' data: blob:; default-src 'self'; img-src 'self' data:; font-src 'self'; "
    "script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; frame-src https://blog.couchdb.org;"
)
FAUXTON = b"""<!--
// Licensed under the Apache License, Version 2.0 (the "License"); you may not
// use this file except in compliance with the License. You may obtain a copy of
// the License at
//
//   http://www.apache.org/licenses/LICENSE-2.0
-->
<!doctype html><html><head><title>Project Fauxton</title></head><body></body></html>
"""
REMOTE = "Cluster setup requires a remote bind_address (not 127.0.0.1 nor ::1)"
SYSTEM = ["_users", "_replicator", "_global_changes"]


async def root(call: Call) -> Answer:
    call.allow("GET", "HEAD")
    return reply(
        {
            "couchdb": "Welcome",
            "version": call.couch.version,
            "git_sha": "11f0d3643",
            "uuid": call.couch.state.uuid,
            "features": FEATURES,
            "vendor": VENDOR,
        }
    )


async def up(call: Call) -> Answer:
    """404 with a status where the node serves, but should not be asked."""
    call.allow("GET", "HEAD")
    mode = call.couch.config["couchdb"].get("maintenance_mode", "false")
    named = {"true": "maintenance_mode", "nolb": "nolb"}.get(mode, "ok")
    status = named if named != "ok" else call.couch.status
    seeds: Json = {}
    match status:
        case "ok":
            return reply({"status": "ok", "seeds": seeds})
        case "seeding":
            seeds = {call.node.name: {"timestamp": None, "last_replication_status": "pending"}}
            return reply({"status": "seeding", "seeds": seeds}, 404)
    return reply({"status": status}, 404)


async def uuids(call: Call) -> Answer:
    call.allow("GET", request_id=False)
    text = call.query.get("count", "1")
    if not text.isdigit():
        raise bad("count must be a positive integer")
    if int(text) > 1000:
        raise bad("count parameter too large")
    drawn = [call.couch.new_uuid() for _ in range(int(text))]
    headers = {"ETag": etag(*drawn), "Expires": "Mon, 01 Jan 1990 00:00:00 GMT", "Pragma": "no-cache"}
    return reply({"uuids": drawn}, headers=headers, cache="no-cache", request_id=False)


async def active_tasks(call: Call) -> Answer:
    call.allow("GET", "HEAD")
    return reply(couchdb_scheduler.tasks(call.couch.replicator) + call.couch.tasks)


async def membership(call: Call) -> Answer:
    """Erlang names, not addresses."""
    call.allow("GET")
    members = call.couch.members
    return reply({"all_nodes": call.couch.alive(members), "cluster_nodes": members}, request_id=False)


async def search_analyze(call: Call) -> Answer:
    """As it is without the search plugin, whatever was asked; with it (`couch.search`) the words are the tokens."""
    if not call.couch.search:
        raise Problem(503, "service unavailable", "Search is not available")
    given = call.json() if call.method == "POST" else call.query
    for name in ("analyzer", "text"):
        if name not in given:
            raise bad(f"{name} parameter is mandatory")
    return reply({"tokens": str(given["text"]).lower().split()})


async def nouveau_analyze(call: Call) -> Answer:
    raise not_found()


async def utils(call: Call) -> Answer:
    if call.raw_path == "/_utils":
        return Answer(status=301, headers={"Location": f"{call.origin}/_utils/"}, content_type=None, cache=None)
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "private, must-revalidate"}
    if call.raw_path not in {"/_utils/", "/_utils/session.html"}:
        return static(b"Not found.", "text/plain", headers, 404)
    return static(FAUXTON, "text/html", {**headers, "last-modified": http_date(call.couch.now())})


def static(body: bytes, kind: str, headers: dict[str, str], status: int = 200) -> Answer:
    return Answer(status=status, body=body, headers=headers, content_type=kind, cache=None, request_id=False)


async def favicon(call: Call) -> Answer:
    expires = http_date(call.couch.now() + 31536000)
    headers = {"Expires": expires, "Cache-Control": "public, max-age=31536000"}
    if call.couch.icon is None:
        return static(b"Not found.", "text/plain", headers, 404)
    return static(call.couch.icon, "image/x-icon", headers)


async def replicate(call: Call) -> Answer:
    return await call.couch.replicator.replicate(call)


async def scheduler(call: Call) -> Answer:
    return couchdb_scheduler.scheduler(call.couch.replicator, call)


async def reshard(call: Call) -> Answer:
    return call.couch.resharder.answer(call)


async def cluster_setup(call: Call) -> Answer:
    call.allow("GET", "HEAD", "POST")
    if call.method != "POST":
        return reply({"state": set_up_state(call)})
    body = call.json()
    action = body.get("action")
    if action not in ACTIONS:
        raise refused("Invalid Action'")
    ACTIONS[action](call, body)
    return reply({"ok": True}, 201)


def refused(reason: str) -> Problem:
    return Problem(400, "bad_request", reason, request_id=False)


def set_up_state(call: Call) -> str:
    """Of one node by the databases that are there, of several by what was done."""
    if len(call.couch.members) > 1 or not call.couch.set_up.startswith("single_node"):
        return call.couch.set_up
    wanted = json.loads(call.query.get("ensure_dbs_exist", json.dumps(SYSTEM)))
    missing = set(wanted) - set(call.couch.state.databases)
    return "single_node_disabled" if missing else "single_node_enabled"


def ensure(call: Call, body: Json) -> None:
    for name in body.get("ensure_dbs_exist", SYSTEM):
        if name not in call.couch.state.databases:
            call.couch.state.create(name, n=len(call.couch.members))


def enable_single_node(call: Call, body: Json) -> None:
    if "username" not in body or "password" not in body:
        raise crash()
    call.couch.config["admins"][body["username"]] = body["password"]
    call.couch.set_up = "single_node_enabled"
    ensure(call, body)


def enable_cluster(call: Call, body: Json) -> None:
    if "remote_node" in body:
        return
    if call.couch.set_up == "cluster_enabled":
        raise refused("Cluster is already enabled")
    if body.get("bind_address") in {"127.0.0.1", "::1"}:
        raise Problem(500, "error", REMOTE)
    if "username" in body and "password" in body:
        call.couch.config["admins"][body["username"]] = body["password"]
    call.couch.set_up = "cluster_enabled"


def add_node(call: Call, body: Json) -> None:
    if call.couch.set_up != "cluster_enabled":
        raise refused("Cluster is not enabled.")
    if body.get("port") not in call.couch.reachable_ports:
        raise refused("Add node failed. Invalid Host and/or Port.")
    if call.couch.config["admins"].get(body.get("username")) != body.get("password"):
        raise refused("Add node failed. Invalid admin credentials,")
    name = f"{body.get('name', 'couchdb')}@{body['host']}"
    if name not in call.couch.members:
        call.couch.members.append(name)


def remove_node(call: Call, body: Json) -> None:
    name = f"{body.get('name', 'couchdb')}@{body['host']}"
    if name in call.couch.members:
        call.couch.members.remove(name)


def finish_cluster(call: Call, body: Json) -> None:
    if call.couch.finished or set_up_state(call) in {"single_node_enabled", "cluster_finished"}:
        raise refused("Cluster is already finished")
    ensure(call, body)
    call.couch.finished = True
    if call.couch.set_up == "cluster_enabled":
        call.couch.set_up = "cluster_finished"


ACTIONS = {
    "enable_single_node": enable_single_node,
    "enable_cluster": enable_cluster,
    "add_node": add_node,
    "remove_node": remove_node,
    "finish_cluster": finish_cluster,
}
