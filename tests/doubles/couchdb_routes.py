"""Which handler answers which path. What stands in no table is unknown to the double."""

from __future__ import annotations

from collections.abc import Mapping

from doubles import (
    couchdb_attachments,
    couchdb_auth,
    couchdb_dbs,
    couchdb_docs,
    couchdb_feeds,
    couchdb_mango,
    couchdb_node,
    couchdb_server,
    couchdb_views,
)
from doubles.couchdb_http import Answer, Call, Handler, Unknown, no_database, not_found

SERVER: Mapping[str, Handler] = {
    "": couchdb_server.root,
    "_active_tasks": couchdb_server.active_tasks,
    "_all_dbs": couchdb_dbs.all_dbs,
    "_cluster_setup": couchdb_server.cluster_setup,
    "_db_updates": couchdb_feeds.db_updates,
    "_dbs_info": couchdb_dbs.all_dbs,
    "_membership": couchdb_server.membership,
    "_node": couchdb_node.node,
    "_nouveau_analyze": couchdb_server.nouveau_analyze,
    "_replicate": couchdb_server.replicate,
    "_reshard": couchdb_server.reshard,
    "_scheduler": couchdb_server.scheduler,
    "_search_analyze": couchdb_server.search_analyze,
    "_session": couchdb_auth.session,
    "_up": couchdb_server.up,
    "_utils": couchdb_server.utils,
    "_uuids": couchdb_server.uuids,
    "favicon.ico": couchdb_server.favicon,
}
DATABASE: Mapping[str, Handler] = {
    "_all_docs": couchdb_views.all_docs,
    "_bulk_docs": couchdb_dbs.bulk_docs,
    "_bulk_get": couchdb_dbs.bulk_get,
    "_changes": couchdb_feeds.changes,
    "_compact": couchdb_dbs.chore,
    "_design_docs": couchdb_views.all_docs,
    "_ensure_full_commit": couchdb_dbs.ensure_full_commit,
    "_explain": couchdb_mango.explain,
    "_find": couchdb_mango.find,
    "_local_docs": couchdb_views.all_docs,
    "_missing_revs": couchdb_dbs.revs_diff,
    "_purge": couchdb_dbs.purge,
    "_purged_infos_limit": couchdb_dbs.limits,
    "_revs_diff": couchdb_dbs.revs_diff,
    "_revs_limit": couchdb_dbs.limits,
    "_security": couchdb_dbs.security,
    "_shards": couchdb_dbs.shards,
    "_sync_shards": couchdb_dbs.chore,
    "_view_cleanup": couchdb_dbs.chore,
}
DESIGN: Mapping[str, Handler] = {"_view": couchdb_views.view, "_info": couchdb_views.design_info}
PARTITION: Mapping[str, Handler] = {
    "_all_docs": couchdb_views.all_docs,
    "_design": couchdb_views.view,
    "_explain": couchdb_mango.explain,
    "_find": couchdb_mango.find,
}
ABSENT = {"_config", "_log", "_nope", "_restart", "_stats"}
"""Of older servers, or of none: to this one they are databases that do not exist."""


async def route(call: Call) -> Answer | None:
    first = call.parts[0]
    if first in ABSENT | call.couch.lacks:
        raise no_database()
    if first in SERVER:
        return await SERVER[first](call)
    if first.startswith("_") and first not in {"_users", "_replicator", "_global_changes", "_nodes", "_dbs"}:
        raise Unknown
    if len(call.parts) == 1 or call.parts[1:] == [""]:
        return await couchdb_dbs.database(call)
    return await within(call)


async def within(call: Call) -> Answer | None:
    """What lies below a database."""
    rest = call.parts[1:]
    if rest[0] in call.couch.lacks:
        raise not_found()
    match rest:
        case ["_index"]:
            return await couchdb_mango.index(call)
        case ["_index", "_bulk_delete"]:
            return await couchdb_mango.delete_indexes(call)
        case ["_index", *_]:
            return await couchdb_mango.delete_index(call)
        case ["_partition", _]:
            return await couchdb_dbs.partition(call)
        case ["_partition", _, under, *_]:
            return await PARTITION[under](call)
        case ["_design" | "_local", _]:
            return await couchdb_docs.document(call)
        case ["_design", _, under, *_] if under in DESIGN:
            return await DESIGN[under](call)
        case [name, *_] if name in DATABASE:
            return await DATABASE[name](call)
        case ["_design", _, under, *_] if under.startswith("_"):
            raise Unknown  # _show, _list, _update, _search and their like
        case ["_design" | "_local", _, *_]:
            return await couchdb_attachments.attachment(call)
        case [name, *_] if name.startswith("_") and call.method in {"GET", "POST"}:
            raise Unknown
        case [_]:
            return await couchdb_docs.document(call)
    return await couchdb_attachments.attachment(call)
