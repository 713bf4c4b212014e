"""Databases as a whole: making, describing, removing, security, bulk, maintenance, shards."""

from __future__ import annotations

import json
from urllib.parse import quote

from doubles.couchdb_auth import may_rule
from doubles.couchdb_docs import (
    check_body,
    check_id,
    check_rev,
    database_of,
    doc_path,
    find,
    graft,
    store,
    to_json,
    written,
)
from doubles.couchdb_http import Answer, Call, Problem, bad, parse, reply
from doubles.couchdb_store import DATABASE_NAME, SYSTEM_DATABASES, Database
from doubles.couchdb_terms import Json, digest, dumps, pack_seq
from doubles.couchdb_views import Options, Row, raw

ILLEGAL = (
    "Name: '{}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, and /"
    " are allowed. Must begin with a letter."
)
EXISTS = "The database could not be created, the file already exists."
DID_YOU_MEAN = "You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?"


async def database(call: Call) -> Answer:
    """`/{db}`"""
    call.allow("DELETE", "GET", "HEAD", "POST", "PUT")
    match call.method:
        case "PUT":
            return create(call)
        case "DELETE":
            return delete(call)
        case "POST":
            return post(call)
    found = database_of(call)
    if not call.couch.is_readable(found):
        raise Problem(500, "nodedown", "progress not possible")
    return reply(info(call, found))


def create(call: Call) -> Answer:
    name = call.parts[0]
    if (
        not DATABASE_NAME.match(name)
        and name not in SYSTEM_DATABASES
        and not name.endswith(("/_users", "/_replicator"))
    ):
        raise Problem(400, "illegal_database_name", ILLEGAL.format(name))
    if name in call.couch.state.databases:
        raise Problem(412, "file_exists", EXISTS)
    cluster = call.couch.config["cluster"]
    q, n = positive(call, "q", cluster["q"]), positive(call, "n", cluster["n"])
    made = call.couch.state.create(
        name, q=q, n=min(n, len(call.couch.members)), partitioned=call.query.get("partitioned") == "true"
    )
    location = f"{call.origin}/{quote(name, safe='')}"
    return reply({"ok": True}, written(call, made), headers={"Location": location})


def positive(call: Call, name: str, default: str) -> int:
    text = call.query.get(name, default)
    if not text.isdigit() or int(text) < 1:
        raise bad(f"The `{name}` value should be a positive integer.")
    return int(text)


def delete(call: Call) -> Answer:
    if "rev" in call.query:
        raise bad(DID_YOU_MEAN)
    found = database_of(call)
    status = 200 if call.couch.has_quorum(found) else 202
    call.couch.state.destroy(found.name)
    return reply({"ok": True}, status)


def info(call: Call, found: Database) -> Json:
    seq = pack_seq(found.sequence, found.uuid, call.node.name)
    external = sum(len(dumps(doc.winner.body)) for doc in found)
    files = {"file": 16690 + 4096 * found.sequence, "external": external, "active": 2 * external}
    majority = found.n // 2 + 1
    return {
        "instance_start_time": str(found.created),
        "db_name": found.name,
        "purge_seq": pack_seq(found.purges, found.uuid, call.node.name),
        "update_seq": seq,
        "sizes": files,
        "props": {"partitioned": True} if found.partitioned else {},
        "doc_del_count": found.deleted_count,
        "doc_count": len(found),
        "disk_format_version": 8,
        "compact_running": False,
        "cluster": {"q": len(call.couch.placement(found)), "n": found.n, "w": majority, "r": majority},
    }


def post(call: Call) -> Answer:
    """A document whose id the server may choose."""
    found = database_of(call)
    body = check_body(call.json())
    doc_id = check_id(body.get("_id", call.couch.new_uuid()))
    rev = check_rev(body["_rev"]) if "_rev" in body else None
    new = store(call, found, doc_id, body, rev=rev)
    if call.query.get("batch") == "ok":
        return reply({"ok": True, "id": doc_id}, 202)
    location = f"{call.origin}/{doc_path(found.name, doc_id)}"
    return reply({"ok": True, "id": doc_id, "rev": new}, written(call, found), headers={"Location": location})


async def bulk_docs(call: Call) -> Answer:
    """A result for each, in order; with `new_edits=false` only the failures. One bad id fails them all."""
    call.allow("POST")
    found = database_of(call)
    body = call.json()
    docs = body.get("docs")
    if docs is None:
        raise bad("POST body must include `docs` parameter.")
    if not isinstance(docs, list):
        raise bad("`docs` parameter must be an array.")
    for doc in docs:
        check_id(check_body(doc).setdefault("_id", call.couch.new_uuid()))
    if body.get("new_edits") is False:
        for doc in docs:
            graft(found, doc)
        return reply([], 201)
    return reply([bulk_row(call, found, doc) for doc in docs], written(call, found))


def bulk_row(call: Call, found: Database, doc: Json) -> Json:
    try:
        rev = check_rev(doc["_rev"]) if "_rev" in doc else None
        new = store(call, found, doc["_id"], doc, rev=rev)
    except Problem as problem:
        return {"id": doc["_id"], **json.loads(problem.answer.body)}
    return {"ok": True, "id": doc["_id"], "rev": new}


async def bulk_get(call: Call) -> Answer:
    call.allow("POST")
    found = database_of(call)
    body = call.json()
    if "docs" not in body:
        raise bad("Missing JSON list of 'docs'.")
    results = [{"id": one["id"], "docs": bulk_get_rows(call, found, one)} for one in body["docs"]]
    return reply({"results": results})


def bulk_get_rows(call: Call, found: Database, wanted: Json) -> Json:
    doc = found.documents.get(wanted["id"])
    if "rev" not in wanted and doc is not None:
        return [{"ok": to_json(doc, leaf, call.query)} for leaf in doc.leaves()]
    query = {"rev": wanted["rev"]} if "rev" in wanted else {}
    try:
        doc, revision = find(found, wanted["id"], query)
    except Problem:
        failure = {"rev": wanted.get("rev", "undefined"), "reason": "missing"}
        return [{"error": failure | {"id": wanted["id"], "error": "not_found"}}]
    return [{"ok": to_json(doc, revision, call.query)}]


async def revs_diff(call: Call) -> Answer:
    """What of these revisions is not here; `_missing_revs` is the same in less words."""
    call.allow("POST")
    found = database_of(call)
    missing: Json = {}
    for doc_id, revs in call.json().items():
        doc = found.documents.get(doc_id)
        absent = [rev for rev in revs if doc is None or rev not in doc.parents]
        if absent:
            missing[doc_id] = {"missing": absent}
            ancestors = [leaf.rev for leaf in doc.leaves()] if doc is not None else []
            if ancestors:
                missing[doc_id]["possible_ancestors"] = ancestors
    if call.parts[1] == "_missing_revs":
        return reply({"missing_revs": {doc_id: one["missing"] for doc_id, one in missing.items()}})
    return reply(missing)


async def purge(call: Call) -> Answer:
    call.allow("POST")
    found = database_of(call)
    purged = {doc_id: found.purge(doc_id, revs) for doc_id, revs in call.json().items()}
    return reply({"purge_seq": None, "purged": purged}, 201)


async def security(call: Call) -> Answer:
    call.allow("GET", "HEAD", "PUT")
    found = database_of(call)
    if call.method == "PUT":
        may_rule(call, found.name)
        body = parse(call.read())
        if not isinstance(body, dict):
            raise bad("Request body must be a JSON object")
        found.security = body
        return reply({"ok": True})
    return reply(found.security)


async def limits(call: Call) -> Answer:
    """`_revs_limit` and `_purged_infos_limit`: a bare number."""
    call.allow("GET", "HEAD", "PUT")
    found = database_of(call)
    name = call.parts[1].removeprefix("_")
    if call.method != "PUT":
        return reply(getattr(found, name))
    may_rule(call, found.name)
    value = parse(call.read())
    if not isinstance(value, int) or value < 1:
        raise bad(f"`{name.replace('revs', 'rev')}` must be positive integer")
    setattr(found, name, value)
    return reply({"ok": True})


async def chore(call: Call) -> Answer:
    """`_compact`, `_view_cleanup`, `_sync_shards`: begun, not waited for. The body is not read."""
    call.allow("POST")
    database_of(call)
    call.expect_json()
    return reply({"ok": True}, 202)


async def ensure_full_commit(call: Call) -> Answer:
    call.allow("POST")
    found = database_of(call)
    call.expect_json()
    return reply({"ok": True, "instance_start_time": str(found.created)}, 201)


async def shards(call: Call) -> Answer:
    """`_shards`, or `_shards/{docid}`: where a document lives."""
    call.allow("GET", "HEAD")
    found = database_of(call)
    placed = call.couch.placement(found)
    if len(call.parts) == 2:
        return reply({"shards": placed}, request_id=False)
    at = int(digest(call.parts[2])[:8], 16)
    home = next(span for span in placed if int(span[:8], 16) <= at <= int(span[9:], 16))
    return reply({"range": home, "nodes": placed[home]}, request_id=False)


async def partition(call: Call) -> Answer:
    call.allow("GET", "HEAD")
    found = database_of(call)
    if not found.partitioned:
        raise bad("database is not partitioned")
    name = call.parts[2]
    docs = [doc for doc in found if doc.id.startswith(f"{name}:")]
    size = sum(len(dumps(doc.winner.body)) for doc in docs)
    counted = {"doc_count": len(docs), "doc_del_count": 0, "partition": name}
    return reply({"db_name": found.name, "sizes": {"active": size, "external": size}, **counted})


async def all_dbs(call: Call) -> Answer:
    """`_all_dbs` and `_dbs_info` share the options of views, but an empty range is no error."""
    if call.parts[0] == "_all_dbs":
        call.allow("GET", "HEAD")
    elif "GET _dbs_info" in call.couch.lacks:
        call.allow("POST")
    else:
        call.allow("GET", "HEAD", "POST")
    if call.method == "POST":
        return dbs_info(call)
    names = sorted(call.couch.state.databases, key=str.encode)
    tag = call.couch.databases_tag()
    if call.headers.get("If-None-Match") == tag:
        return Answer(status=304, headers={"ETag": tag}, content_type=None, cache=None)
    options = Options.of(call)
    rows = [Row(key=name, id=name, value=None) for name in names]
    keys = options.given.get("keys")
    if keys is not None:
        rows = [row for row in rows if row.key in keys]
    else:
        _, rows = options.cut(rows, raw, strict=False)
    names = [row.key for row in options.page(rows)]
    if call.parts[0] == "_all_dbs":
        return reply(names, headers={"ETag": tag}, chunked=True)
    return reply([info_row(call, name) for name in names], headers={"ETag": tag}, chunked=True)


def dbs_info(call: Call) -> Answer:
    keys = call.json().get("keys")
    if keys is None:
        raise bad("`keys` member must exist.")
    if not isinstance(keys, list):
        raise bad("`keys` member must be an array.")
    if len(keys) > int(call.couch.config.get("chttpd", {}).get("max_db_number_for_dbs_info_req", "100")):
        raise bad("too_many_keys")
    return reply([info_row(call, key) for key in keys], chunked=True)


def info_row(call: Call, key: Json) -> Json:
    found = call.couch.state.databases.get(key) if isinstance(key, str) else None
    if found is None:
        return {"key": key, "error": "not_found"}
    return {"key": key, "info": info(call, found)}
