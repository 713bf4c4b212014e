"""Documents: reading one in all its forms, writing by compare and swap, in bulk, and by grafting."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from doubles.couchdb_auth import hash_password
from doubles.couchdb_http import Answer, Call, Problem, Unknown, bad, no_database, not_found, reply
from doubles.couchdb_script import Script, Thrown
from doubles.couchdb_store import MEMBERS, Attachment, Conflict, Database, Document, Revision, rev_record
from doubles.couchdb_terms import Json

REV = re.compile(r"\d+-.+\Z")
ALTERED = {"revs", "revs_info", "conflicts", "deleted_conflicts", "meta", "local_seq", "attachments", "open_revs"}
ALTERED |= {"att_encoding_info"}
"""With one of these a document has no ETag."""


def database_of(call: Call) -> Database:
    found = call.couch.state.databases.get(call.parts[0])
    if found is None:
        raise no_database()
    return found


def conflict() -> Problem:
    return Problem(409, "conflict", "Document update conflict.")


def check_id(doc_id: Json) -> str:
    if not isinstance(doc_id, str):
        raise Problem(400, "illegal_docid", "Document id must be a string")
    if not doc_id:
        raise Problem(400, "illegal_docid", "Document id must not be empty")
    if doc_id.startswith("_") and not doc_id.startswith(("_design/", "_local/")):
        raise Problem(400, "illegal_docid", "Only reserved document ids may start with underscore.")
    return doc_id


def check_rev(rev: Json) -> str:
    if not isinstance(rev, str) or not REV.match(rev):
        raise bad("Invalid rev format")
    return rev


def check_body(body: Json) -> dict[str, Json]:
    if not isinstance(body, dict):
        raise bad("Document must be a JSON object")
    for name in body:
        if name.startswith("_") and name not in MEMBERS:
            raise Problem(400, "doc_validation", f"Bad special document member: {name}")
    return body


def written(call: Call, database: Database) -> int:
    """202 where too few copies of a shard could be reached to be sure."""
    return 201 if call.couch.has_quorum(database) else 202


def doc_path(name: str, doc_id: str) -> str:
    first, slash, rest = doc_id.partition("/")
    if first in {"_design", "_local"}:
        return f"{quote(name, safe='')}/{first}{slash}{quote(rest, safe='')}"
    return f"{quote(name, safe='')}/{quote(doc_id, safe='')}"


def to_json(
    doc: Document,
    revision: Revision,
    options: Mapping[str, str],
    *,
    database: Database | None = None,
    inline: bool = False,
) -> Json:
    """A document as the server writes it: id, revision, body, then what `options` asked for."""
    found: Json = {"_id": doc.id, "_rev": revision.rev, **revision.body}
    if revision.deleted:
        found["_deleted"] = True
    if options.get("revs") == "true":
        found["_revisions"] = rev_record(doc, revision.rev)
    meta = options.get("meta") == "true"
    if options.get("revs_info") == "true" or meta:
        found["_revs_info"] = [{"rev": rev, "status": rev_status(doc, rev)} for rev in doc.history(revision.rev)]
    others = [leaf for leaf in doc.leaves() if leaf.rev != doc.winner.rev]
    living = [leaf.rev for leaf in others if not leaf.deleted]
    dead = [leaf.rev for leaf in others if leaf.deleted]
    if living and (options.get("conflicts") == "true" or meta):
        found["_conflicts"] = living
    if dead and (options.get("deleted_conflicts") == "true" or meta):
        found["_deleted_conflicts"] = dead
    if options.get("local_seq") == "true" and database is not None:
        found["_local_seq"] = database.order[doc.id]
    if revision.attachments:
        found["_attachments"] = {
            name: stub(one, inline=inline or options.get("attachments") == "true")
            for name, one in revision.attachments.items()
        }
    return found


def rev_status(doc: Document, rev: str) -> str:
    if rev not in doc.revisions:
        return "missing"
    return "deleted" if doc.revisions[rev].deleted else "available"


def stub(one: Attachment, *, inline: bool) -> Json:
    digest = "md5-" + base64.b64encode(one.digest).decode()
    common = {"content_type": one.content_type, "revpos": one.revpos, "digest": digest}
    if inline:
        return common | {"data": base64.b64encode(one.data).decode()}
    return common | {"length": len(one.data), "stub": True}


def attachments_from(
    body: Mapping[str, Json], parent: Revision | None, generation: int, parts: list[bytes]
) -> dict[str, Attachment]:
    """Attachments of a document that is written: inline, following as parts, or stubs of those that stay."""
    found = {}
    for name, given in body.get("_attachments", {}).items():
        kind = given.get("content_type", "application/octet-stream")
        if given.get("stub"):
            if parent is None or name not in parent.attachments:
                raise Problem(412, "missing_stub", f"Invalid attachment stub in {body.get('_id')} for {name}")
            found[name] = parent.attachments[name]
        elif given.get("follows"):
            found[name] = Attachment(content_type=kind, data=parts.pop(0), revpos=generation)
        else:
            try:
                data = base64.b64decode(given["data"], validate=True)
            except ValueError as e:
                raise bad("Invalid base64 attachment data") from e
            found[name] = Attachment(content_type=kind, data=data, revpos=generation)
    return found


def validate(call: Call, database: Database, doc_id: str, body: Json, old: Document | None, *, deleted: bool) -> None:
    """The design documents' `validate_doc_update`, which may forbid a write; design documents go unchecked."""
    if doc_id.startswith("_design/"):
        if not call.user.is_admin:
            raise Problem(401, "unauthorized", "You are not a db or server admin.")
        return
    new = {"_id": doc_id, **body} | ({"_deleted": True} if deleted else {})
    context = {"db": database.name, "name": call.user.name, "roles": call.user.roles}
    before = to_json(old, old.winner, {}) if old is not None else None
    for design in designs(database):
        if "validate_doc_update" in design.winner.body:
            script = Script(design.winner.body["validate_doc_update"])
            try:
                script.run(new, before, context, database.security)
            except Thrown as thrown:
                [(kind, reason)] = thrown.value.items()
                raise Problem(401 if kind == "unauthorized" else 403, kind, reason) from thrown


def designs(database: Database) -> list[Document]:
    return [doc for doc in database if doc.id.startswith("_design/")]


def store(
    call: Call,
    database: Database,
    doc_id: str,
    body: dict[str, Json],
    *,
    rev: str | None,
    parts: list[bytes] | None = None,
) -> str:
    """Writes one document with all that its database asks of it. Raises `Problem`, 409 for a conflict."""
    check_body(body)
    doc = database.documents.get(doc_id)
    try:
        parent = database.parent_of(doc, rev)
    except Conflict:
        raise conflict() from None
    old = doc.revisions.get(parent) if doc is not None and parent is not None else None
    deleted = bool(body.get("_deleted"))
    generation = 1 if parent is None else int(parent.split("-")[0]) + 1
    kept = attachments_from({"_id": doc_id, **body}, old, generation, parts or [])
    plain = {name: value for name, value in body.items() if is_body(name)}
    validate(call, database, doc_id, plain, doc, deleted=deleted)
    if database.name == "_users":
        plain = hash_password(call, plain)
    if is_replicator(database.name) and not deleted and not doc_id.startswith("_design/"):
        plain = call.couch.replicator.accept(call, plain)
    new = database.write(doc_id, plain, rev=parent, deleted=deleted, attachments=kept)
    if is_replicator(database.name):
        call.couch.replicator.document_changed(database.name, doc_id)
    return new


def is_body(name: str) -> bool:
    return not name.startswith("_") or name.startswith("_replication")


def is_replicator(name: str) -> bool:
    return name == "_replicator" or name.endswith("/_replicator")


def graft(database: Database, body: dict[str, Json]) -> None:
    """`new_edits=false`: the revision is kept as it is named, beside what is there."""
    check_body(body)
    rev = check_rev(body.get("_rev", ""))
    given = body.get("_revisions", {"start": int(rev.split("-")[0]), "ids": [rev.split("-", 1)[1]]})
    history = [f"{given['start'] - index}-{one}" for index, one in enumerate(given["ids"])]
    plain = {name: value for name, value in body.items() if is_body(name)}
    revision = Revision(
        rev=rev,
        parent=history[1] if len(history) > 1 else None,
        deleted=bool(body.get("_deleted")),
        body=plain,
        attachments=attachments_from(body, None, given["start"], []),
    )
    database.graft(body["_id"], revision, history[1:])


async def document(call: Call) -> Answer:
    """`/{db}/{docid}`, design and local documents included."""
    database = database_of(call)
    doc_id = doc_id_of(call)
    if doc_id.startswith("_local/"):
        return local(call, database, doc_id)
    match call.method:
        case "GET" | "HEAD":
            return read(call, database, doc_id)
        case "PUT":
            return put(call, database, doc_id)
        case "DELETE":
            return delete(call, database, doc_id)
        case "COPY":
            return copy(call, database, doc_id)
    call.allow("DELETE", "GET", "HEAD", "POST", "PUT", "COPY")
    raise Unknown


def doc_id_of(call: Call) -> str:
    return "/".join(call.parts[1:3]) if call.parts[1] in {"_design", "_local"} else call.parts[1]


def find(database: Database, doc_id: str, query: Mapping[str, str]) -> tuple[Document, Revision]:
    """The revision that a reader asked for: a named one may be deleted, the winner may not."""
    doc = database.documents.get(doc_id)
    if doc is None:
        raise not_found()
    if "rev" in query:
        rev = check_rev(query["rev"])
        if rev not in doc.revisions:
            raise not_found()
        return doc, doc.revisions[rev]
    if doc.winner.deleted:
        raise not_found("deleted")
    return doc, doc.winner


def read(call: Call, database: Database, doc_id: str) -> Answer:
    check_id(doc_id)
    query = call.query
    for name in ("conflicts", "revs", "revs_info", "attachments"):
        call.flag(name)
    if "multipart/" in call.headers.get("Accept", ""):
        raise Unknown
    if "open_revs" in query:
        return reply(open_revs(database, doc_id, query), chunked=True)
    doc, revision = find(database, doc_id, query)
    if ALTERED & set(query):
        return reply(to_json(doc, revision, query, database=database))
    tag = f'"{revision.rev}"'
    if call.headers.get("If-None-Match") == tag:
        return Answer(status=304, headers={"ETag": tag}, content_type=None, cache=None)
    return reply(to_json(doc, revision, query), headers={"ETag": tag})


def open_revs(database: Database, doc_id: str, query: Mapping[str, str]) -> Json:
    doc = database.documents.get(doc_id)
    if query["open_revs"] == "all":
        wanted = [leaf.rev for leaf in doc.leaves()] if doc is not None else []
    else:
        wanted = json.loads(query["open_revs"])
    known = doc.revisions if doc is not None else {}
    return [
        {"ok": to_json(doc, known[rev], query)} if doc is not None and rev in known else {"missing": rev}
        for rev in wanted
    ]


def expected_rev(call: Call) -> str | None:
    """The revision that a writer names: `?rev`, else `If-Match`."""
    rev = call.query.get("rev")
    etag = call.headers.get("If-Match", "").strip('"')
    if rev is not None and etag and rev != etag:
        raise bad("Document rev and etag have different values")
    named = rev or etag or None
    return None if named is None else check_rev(named)


def put(call: Call, database: Database, doc_id: str) -> Answer:
    check_id(doc_id)
    rev = expected_rev(call)
    body, parts = body_of(call)
    check_body(body)
    inner = body.get("_rev")
    if rev is not None and inner is not None and rev != inner:
        raise bad("Document rev from request body and query string have different values")
    if call.query.get("new_edits") == "false":
        graft(database, {"_id": doc_id, **body})
        new = body["_rev"]
    else:
        new = store(call, database, doc_id, body, rev=rev or (check_rev(inner) if inner else None), parts=parts)
    location = f"{call.origin}/{doc_path(database.name, doc_id)}"
    if call.query.get("batch") == "ok":
        return reply({"ok": True, "id": doc_id}, 202, headers={"Location": location})
    headers = {"ETag": f'"{new}"', "Location": location}
    return reply({"ok": True, "id": doc_id, "rev": new}, written(call, database), headers=headers)


def body_of(call: Call) -> tuple[dict[str, Json], list[bytes]]:
    """The document, and the attachments that follow it in a multipart/related body."""
    kind = call.headers.get("Content-Type", "")
    if not kind.startswith("multipart/related"):
        body: dict[str, Json] = call.json(checked=False)
        return body, []
    boundary = re.search(r'boundary="?([^";]+)', kind)
    if boundary is None:
        raise bad("multipart/related without a boundary")
    pieces = call.read().split(b"--" + boundary[1].encode())[1:-1]
    contents = [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces]
    return json.loads(contents[0]), contents[1:]


def delete(call: Call, database: Database, doc_id: str) -> Answer:
    rev = expected_rev(call)
    if doc_id not in database.documents or (rev is None and database.documents[doc_id].winner.deleted):
        raise not_found("deleted" if doc_id in database.documents else "missing")
    new = store(call, database, doc_id, {"_deleted": True}, rev=rev)
    status = 200 if call.couch.has_quorum(database) else 202
    return reply({"ok": True, "id": doc_id, "rev": new}, status, headers={"ETag": f'"{new}"'})


def copy(call: Call, database: Database, doc_id: str) -> Answer:
    """`Destination: other?rev=...`"""
    _, revision = find(database, doc_id, call.query)
    target, _, rest = call.headers.get("Destination", "").partition("?")
    target = unquote(target)
    rev = rest.removeprefix("rev=") or None
    call.consumed = True
    body = {**revision.body}
    if revision.attachments:
        body["_attachments"] = {name: stub(one, inline=True) for name, one in revision.attachments.items()}
    new = store(call, database, check_id(target), body, rev=rev)
    headers = {"ETag": f'"{new}"', "Location": f"{call.origin}/{doc_path(database.name, target)}"}
    return reply({"ok": True, "id": target, "rev": new}, written(call, database), headers=headers)


def local(call: Call, database: Database, doc_id: str) -> Answer:
    """`_local` documents: no tree, no sequence, revisions counted `0-1`, `0-2`."""
    call.allow("GET", "HEAD", "PUT", "DELETE")
    kept = database.local.get(doc_id)
    if call.method == "PUT":
        body = check_body(call.json(checked=False))
        if kept is not None and body.get("_rev", call.query.get("rev")) != kept["_rev"]:
            raise conflict()
        count = 1 if kept is None else int(kept["_rev"].split("-")[1]) + 1
        database.local[doc_id] = {"_id": doc_id, "_rev": f"0-{count}"} | {
            name: value for name, value in body.items() if is_body(name)
        }
        location = f"{call.origin}/{doc_path(database.name, doc_id)}"
        headers = {"ETag": f'"0-{count}"', "Location": location}
        return reply({"ok": True, "id": doc_id, "rev": f"0-{count}"}, 201, headers=headers)
    if kept is None:
        raise not_found()
    if call.method == "DELETE":
        del database.local[doc_id]
        return reply({"ok": True, "id": doc_id, "rev": "0-0"})
    return reply(kept, headers={"ETag": f'"{kept["_rev"]}"'})
