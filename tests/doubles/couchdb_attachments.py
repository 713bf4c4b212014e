"""Attachments: raw bytes under a document, each write a new revision of it."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from doubles.couchdb_docs import (
    check_id,
    conflict,
    database_of,
    doc_id_of,
    doc_path,
    expected_rev,
    find,
    written,
)
from doubles.couchdb_http import Answer, Call, Problem, not_found, reply
from doubles.couchdb_store import Attachment, Conflict, Database, Revision


async def attachment(call: Call) -> Answer:
    """`/{db}/{docid}/{name}`; the name may hold slashes."""
    call.allow("GET", "HEAD", "PUT", "DELETE")
    database = database_of(call)
    doc_id = check_id(doc_id_of(call))
    name = "/".join(call.parts[1 + len(doc_id.split("/") if doc_id.startswith("_") else [0]) :])
    if call.method in {"GET", "HEAD"}:
        return read(call, database, doc_id, name)
    return write(call, database, doc_id, name)


def read(call: Call, database: Database, doc_id: str, name: str) -> Answer:
    _, revision = find(database, doc_id, call.query)
    found = revision.attachments.get(name)
    if found is None:
        raise not_found("Document is missing attachment")
    md5 = base64.b64encode(found.digest).decode()
    headers = {"ETag": f'"{md5}"', "Content-MD5": md5, "Accept-Ranges": "bytes"}
    if found.encoding is not None:
        headers |= {"Content-Encoding": found.encoding, "Accept-Ranges": "none"}
    if call.headers.get("If-None-Match") == f'"{md5}"':
        return Answer(status=304, headers=headers, content_type=None)
    span = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("Range", ""))
    if span is None:
        return Answer(body=found.data, headers=headers, content_type=found.content_type)
    first, last = int(span[1]), min(int(span[2] or len(found.data)), len(found.data) - 1)
    if first > last:
        raise Problem(416, "requested_range_not_satisfiable", "Requested range not satisfiable")
    headers["Content-Range"] = f"bytes {first}-{last}/{len(found.data)}"
    body = found.data[first : last + 1]
    return Answer(status=206, body=body, headers=headers, content_type=found.content_type)


def write(call: Call, database: Database, doc_id: str, name: str) -> Answer:
    """PUT or DELETE. Without the revision of a document that exists: 409."""
    rev = expected_rev(call)
    doc = database.documents.get(doc_id)
    try:
        parent = database.parent_of(doc, rev)
    except Conflict:
        raise conflict() from None
    old = doc.revisions.get(parent) if doc is not None and parent is not None else None
    kept = dict(old.attachments) if old is not None and not old.deleted else {}
    if call.method == "DELETE":
        if name not in kept:
            raise not_found("Document is missing attachment")
        del kept[name]
    else:
        kept[name] = received(call, old)
    body = old.body if old is not None and not old.deleted else {}
    new = database.write(doc_id, body, rev=parent, attachments=kept)
    if call.method == "DELETE":
        return reply({"ok": True, "id": doc_id, "rev": new})
    location = f"{call.origin}/{doc_path(database.name, doc_id)}/{quote(name)}"
    headers = {"ETag": f'"{new}"', "Location": location}
    return reply({"ok": True, "id": doc_id, "rev": new}, written(call, database), headers=headers)


def received(call: Call, old: Revision | None) -> Attachment:
    """The bytes of the body. A digest in `Content-MD5` is checked, as the server does."""
    data = call.read()
    kind = call.headers.get("Content-Type", "application/octet-stream")
    generation = 1 if old is None else int(old.rev.split("-")[0]) + 1
    found = Attachment(content_type=kind, data=data, revpos=generation, encoding=call.headers.get("Content-Encoding"))
    wanted = call.headers.get("Content-MD5")
    if wanted is not None and base64.b64decode(wanted) != found.digest:
        raise Problem(400, "content_md5_mismatch", "Possible message corruption.")
    return found
