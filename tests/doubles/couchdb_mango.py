"""Selectors: does a document match? And `_find`, `_explain`, `_index` on top of it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cmp_to_key

from doubles.couchdb_docs import database_of, store, to_json
from doubles.couchdb_http import Answer, Call, Problem, not_found, reply
from doubles.couchdb_store import Database
from doubles.couchdb_terms import Json, dumps
from doubles.couchdb_views import collate

WARNING = "No matching index found, create an index to optimize query time."
NO_INDEX = "No index exists for this sort, try indexing by the sort fields."
TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
MISSING = object()

Test = Callable[[Json, Json], bool]


def kind(value: Json) -> str:
    return "null" if value is None else TYPES[type(value)]


def compared(sign: Callable[[Json, Json], bool]) -> Test:
    return lambda value, wanted: value is not MISSING and sign(collate(value), collate(wanted))


def present(test: Test) -> Test:
    return lambda value, wanted: value is not MISSING and test(value, wanted)


OPERATORS: dict[str, Test] = {
    "$eq": compared(lambda one, other: bool(one == other)),
    "$ne": compared(lambda one, other: bool(one != other)),
    "$lt": compared(lambda one, other: bool(one < other)),
    "$lte": compared(lambda one, other: bool(one <= other)),
    "$gt": compared(lambda one, other: bool(one > other)),
    "$gte": compared(lambda one, other: bool(one >= other)),
    "$in": present(lambda value, wanted: any(one in wanted for one in (value if isinstance(value, list) else [value]))),
    "$nin": present(lambda value, wanted: value not in wanted),
    "$exists": lambda value, wanted: (value is not MISSING) == wanted,
    "$type": present(lambda value, wanted: kind(value) == wanted),
    "$size": present(lambda value, wanted: isinstance(value, list) and len(value) == wanted),
    "$mod": present(lambda value, wanted: isinstance(value, int) and value % wanted[0] == wanted[1]),
    "$regex": present(lambda value, wanted: isinstance(value, str) and re.search(wanted, value) is not None),
    "$beginsWith": present(lambda value, wanted: isinstance(value, str) and value.startswith(wanted)),
    "$all": present(lambda value, wanted: isinstance(value, list) and all(one in value for one in wanted)),
    "$elemMatch": present(lambda value, wanted: isinstance(value, list) and any(matches(one, wanted) for one in value)),
    "$allMatch": present(
        lambda value, wanted: isinstance(value, list) and bool(value) and all(matches(one, wanted) for one in value)
    ),
    "$keyMapMatch": present(
        lambda value, wanted: isinstance(value, dict) and any(matches(name, wanted) for name in value)
    ),
    "$not": lambda value, wanted: not condition(value, wanted),
    "$and": lambda value, wanted: all(condition(value, one) for one in wanted),
    "$or": lambda value, wanted: any(condition(value, one) for one in wanted),
    "$nor": lambda value, wanted: not any(condition(value, one) for one in wanted),
}


def check(selector: Json) -> None:
    """Refuses an operator that the server does not know."""
    if isinstance(selector, list):
        for one in selector:
            check(one)
    elif isinstance(selector, dict):
        for name, value in selector.items():
            if name.startswith("$") and name not in OPERATORS:
                raise Problem(400, "invalid_operator", f"Invalid operator: {name}")
            check(value)


def matches(value: Json, selector: Json) -> bool:
    """Whether a document, or an element of an array, fits."""
    if not isinstance(selector, dict):
        return OPERATORS["$eq"](value, selector)
    return all(field_fits(value, name, wanted) for name, wanted in selector.items())


def field_fits(value: Json, name: str, wanted: Json) -> bool:
    if name in {"$and", "$or", "$nor"}:
        hits = [matches(value, one) for one in wanted]
        return all(hits) if name == "$and" else any(hits) if name == "$or" else not any(hits)
    if name == "$not":
        return not matches(value, wanted)
    if name.startswith("$"):
        return OPERATORS[name](value, wanted)
    return condition(member(value, name), wanted)


def condition(value: Json, wanted: Json) -> bool:
    if not isinstance(wanted, dict):
        return OPERATORS["$eq"](value, wanted)
    if not any(name.startswith("$") for name in wanted):
        return all(condition(member(value, name), inner) for name, inner in wanted.items())
    return all(OPERATORS[name](value, inner) for name, inner in wanted.items())


def member(value: Json, path: str) -> Json:
    for name in re.split(r"(?<!\\)\.", path):
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value


def normal(selector: Json) -> Json:
    """As `_explain` shows it: `{"n": 1}` is `{"n": {"$eq": 1}}`."""
    if not isinstance(selector, dict):
        return {"$eq": selector}
    return {
        name: [normal(one) for one in value]
        if isinstance(value, list) and name in {"$and", "$or", "$nor"}
        else value
        if name.startswith("$")
        else normal(value)
        for name, value in selector.items()
    }


def query_of(call: Call) -> Json:
    call.allow("POST")
    query = call.json()
    if "selector" not in query:
        raise Problem(400, "missing_required_key", "Missing required key: selector")
    check(query["selector"])
    return query


def index_for(database: Database, query: Json) -> Json | None:
    """The first index whose fields the selector names, and which gives the order that is asked for."""
    named = {name for name in query["selector"] if not name.startswith("$")}
    for one in query["selector"].get("$and", []):
        named |= set(one)
    wanted = [next(iter(one)) if isinstance(one, dict) else one for one in query.get("sort", [])]
    for index in indexes(database):
        fields = [next(iter(one)) for one in index["def"]["fields"]]
        usable = set(fields) <= named | set(wanted) or fields == ["_id"]
        if index["ddoc"] is None and not wanted:
            continue
        if usable and fields[: len(wanted)] == wanted:
            return index
    if wanted:
        raise Problem(400, "no_usable_index", NO_INDEX)
    return None


def indexes(database: Database) -> list[Json]:
    special = {
        "ddoc": None,
        "name": "_all_docs",
        "type": "special",
        "def": {"fields": [{"_id": "asc"}]},
    }
    found: list[Json] = [special]
    for doc in database:
        if doc.winner.body.get("language") == "query":
            for name, one in doc.winner.body["views"].items():
                fields = [{field: order} for field, order in one["map"]["fields"].items()]
                definition = {"fields": fields}
                if one["map"].get("partial_filter_selector"):
                    definition["partial_filter_selector"] = one["map"]["partial_filter_selector"]
                row = {"ddoc": doc.id, "name": name, "type": "json", "partitioned": False, "def": definition}
                found.append(row)
    return found


async def find(call: Call) -> Answer:
    database = database_of(call)
    query = query_of(call)
    index = index_for(database, query)
    docs = [to_json(doc, doc.winner, {"conflicts": str(query.get("conflicts", False)).lower()}) for doc in database]
    if "_partition" in call.parts:
        docs = [doc for doc in docs if doc["_id"].startswith(call.parts[2] + ":")]
    examined = len(docs)
    found = ordered([doc for doc in docs if matches(doc, query["selector"])], query.get("sort", []))
    page, bookmark = paged(found, query)
    lines = b",\n".join(dumps(projected(doc, query.get("fields"))) for doc in page)
    body = b'{"docs":[\n' + lines + b'\n],\n"bookmark": ' + dumps(bookmark)
    if query.get("execution_stats"):
        stats = {
            "total_keys_examined": examined,
            "total_docs_examined": examined,
            "total_quorum_docs_examined": 0,
            "results_returned": len(page),
            "execution_time_ms": 1.722,
        }
        body += b',\n"execution_stats": ' + dumps(stats)
    if index is None:
        body += b',\n"warning": ' + dumps(WARNING)
    return Answer(body=body + b"}\n", chunked=True)


def ordered(docs: list[Json], sort: list[Json]) -> list[Json]:
    def by(one: Json, other: Json) -> int:
        for rule in sort:
            name, way = next(iter(rule.items())) if isinstance(rule, dict) else (rule, "asc")
            left, right = collate(member(one, name)), collate(member(other, name))
            if left != right:
                return (1 if left > right else -1) * (-1 if way == "desc" else 1)
        return 0

    kept = [doc for doc in docs if all(member(doc, field_of(rule)) is not MISSING for rule in sort)]
    return sorted(kept, key=cmp_to_key(by))


def field_of(rule: Json) -> str:
    return next(iter(rule)) if isinstance(rule, dict) else str(rule)


def paged(found: list[Json], query: Json) -> tuple[list[Json], str]:
    """The page after the bookmark, and the next bookmark: `nil` stands for none, as the server writes it."""
    mark = query.get("bookmark") or "nil"
    if mark != "nil":
        try:
            last = base64.urlsafe_b64decode(mark.removeprefix("g1AAAA").encode() + b"==").decode()
        except ValueError as e:
            raise Problem(400, "invalid_bookmark", f"Invalid bookmark value: {dumps(mark).decode()}") from e
        after = next((index + 1 for index, doc in enumerate(found) if doc["_id"] == last), 0)
        found = found[after:]
    found = found[query.get("skip", 0) if mark == "nil" else 0 :]
    page = found[: query.get("limit", 25)]
    if not page:
        return [], mark
    packed = base64.urlsafe_b64encode(page[-1]["_id"].encode()).decode().rstrip("=")
    return page, f"g1AAAA{packed}"


def projected(doc: Json, fields: list[str] | None) -> Json:
    if not fields:
        return doc
    found: Json = {}
    for path in fields:
        value = member(doc, path)
        if value is not MISSING:
            *way, last = path.split(".")
            inner = found
            for name in way:
                inner = inner.setdefault(name, {})
            inner[last] = value
    return found


async def explain(call: Call) -> Answer:
    database = database_of(call)
    query = query_of(call)
    index = index_for(database, query) or indexes(database)[0]
    limit, skip, fields = query.get("limit", 25), query.get("skip", 0), query.get("fields", [])
    options = {
        "use_index": query.get("use_index", []),
        "bookmark": query.get("bookmark", "nil"),
        "limit": limit,
        "skip": skip,
        "sort": query.get("sort", {}),
        "fields": fields,
        "partition": "",
        "r": 1,
        "conflicts": query.get("conflicts", False),
        "stale": False,
        "update": True,
        "stable": False,
        "execution_stats": query.get("execution_stats", False),
        "allow_fallback": True,
    }
    selector = normal(query["selector"])
    hints = [{"type": "json", "indexable_fields": sorted(query["selector"]), "unindexable_fields": []}]
    return reply(
        {
            "dbname": database.name,
            "index": index,
            "partitioned": False,
            "selector": selector,
            "opts": options,
            "limit": limit,
            "skip": skip,
            "fields": fields,
            "index_candidates": [candidate(one) for one in indexes(database) if one != index],
            "selector_hints": hints,
            "mrargs": {"include_docs": True, "view_type": "map", "reduce": False, "partition": None, "start_key": []},
            "covering": False,
        }
    )


def candidate(index: Json) -> Json:
    """An index that was not chosen, and why not."""
    special = index["type"] == "special"
    reason = {"name": "unfavored_type" if special else "less_overlap"}
    return {"index": index, "analysis": {"usable": special, "reasons": [reason], "ranking": 1, "covering": None}}


async def index(call: Call) -> Answer:
    """GET lists, POST makes (or finds the same one)."""
    database = database_of(call)
    call.allow("GET", "POST")
    if call.method == "GET":
        rows = indexes(database)
        return reply({"total_rows": len(rows), "indexes": rows})
    wanted = call.json()
    if "index" not in wanted:
        raise Problem(400, "missing_required_key", "Missing required key: index")
    fields = {
        next(iter(one)) if isinstance(one, dict) else one: next(iter(one.values())) if isinstance(one, dict) else "asc"
        for one in wanted["index"]["fields"]
    }
    mapping: Json = {"fields": fields, "partial_filter_selector": wanted["index"].get("partial_filter_selector", {})}
    mark = hashlib.sha1(dumps(mapping)).hexdigest()
    design = "_design/" + wanted.get("ddoc", mark).removeprefix("_design/")
    name = wanted.get("name", mark)
    old = database.documents.get(design)
    body: dict[str, Json] = {"language": "query", "views": {}}
    if old is not None and not old.winner.deleted:
        body = {**old.winner.body, "views": dict(old.winner.body["views"])}
    made = {"map": mapping, "reduce": "_count", "options": {"def": wanted["index"]}}
    if body["views"].get(name) == made:
        return reply({"result": "exists", "id": design, "name": name})
    body["views"][name] = made
    store(call, database, design, body, rev=old.winner.rev if old is not None else None)
    return reply({"result": "created", "id": design, "name": name})


async def delete_index(call: Call) -> Answer:
    """`DELETE /{db}/_index/{ddoc}/json/{name}`, with or without `_design/` before the name of the document."""
    call.allow("DELETE")
    database = database_of(call)
    *_, design, _, name = [part for part in call.parts[2:] if part != "_design"]
    doc = database.documents.get(f"_design/{design}")
    if doc is None or doc.winner.deleted or name not in doc.winner.body.get("views", {}):
        raise not_found("Index not found" if doc is not None else "missing")
    views = {other: one for other, one in doc.winner.body["views"].items() if other != name}
    body = {**doc.winner.body, "views": views} if views else {"_deleted": True}
    store(call, database, doc.id, body, rev=doc.winner.rev)
    return reply({"ok": True})


async def delete_indexes(call: Call) -> Answer:
    """`_bulk_delete`: design documents by their ids."""
    call.allow("POST")
    database = database_of(call)
    done, failed = [], []
    for doc_id in call.json()["docids"]:
        doc = database.documents.get(doc_id)
        if doc is None or doc.winner.deleted:
            failed.append({"id": doc_id, "error": "not_found"})
        else:
            store(call, database, doc_id, {"_deleted": True}, rev=doc.winner.rev)
            done.append({"id": doc_id, "ok": True})
    return reply({"success": done, "fail": failed})
