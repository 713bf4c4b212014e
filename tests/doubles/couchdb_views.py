"""Rows under a key: `_all_docs`, views with built-in reductions, and the options that cut a window out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import frozen
from doubles.couchdb_docs import database_of, to_json
from doubles.couchdb_http import Answer, Call, Problem, Unknown, bad, not_found, parse, reply
from doubles.couchdb_script import Script
from doubles.couchdb_store import Database, Document
from doubles.couchdb_terms import Json, dumps, pack_seq

RANGE = "No rows can match your key range, reverse your start_key and end_key or set descending=true"
Order = Callable[[Json], Json]


@frozen(kw_only=True)
class Row:
    key: Json
    value: Json
    id: str | None = None
    error: str | None = None


def raw(key: Json) -> Json:
    """How ids are ordered: by their bytes. Keys of other types come before and after all ids."""
    return (0, b"") if key is None else (1, key.encode()) if isinstance(key, str) else (2, b"")


def collate(key: Json) -> Json:
    """CouchDB's order of JSON: null, false, true, numbers, text, arrays, objects."""
    match key:
        case None:
            return (0,)
        case bool():
            return (1, key)
        case int() | float():
            return (2, key)
        case str():
            return (3, key.casefold(), key.swapcase())
        case list():
            return (4, [collate(one) for one in key])
    return (5, [(collate(name), collate(value)) for name, value in key.items()])


def number(text: Json, *, positive: bool = True) -> int:
    try:
        found = int(text)
    except (TypeError, ValueError) as e:
        raise Problem(400, "query_parse_error", f'Invalid value for integer: "{text}"') from e
    if positive and found < 0:
        raise Problem(400, "query_parse_error", f'Invalid value for positive integer: "{text}"')
    return found


@frozen(kw_only=True)
class Options:
    """The options of a query, from the URL or from a body, under either spelling."""

    given: Mapping[str, Json]

    @classmethod
    def of(cls, call: Call, *, body: Json = None) -> Options:
        found: dict[str, Json] = dict(call.query)
        for name in ("key", "keys", "startkey", "start_key", "endkey", "end_key"):
            if name in found:
                found[name] = parse(found[name].encode())
        for name, value in (body or {}).items():
            found[name] = value
        options = cls(given=found)
        for name in ("descending", "include_docs", "inclusive_end", "reduce", "group", "conflicts", "update_seq"):
            options.flag(name)
        _ = options.limit, options.skip
        return options

    def get(self, *names: str) -> tuple[bool, Json]:
        for name in names:
            if name in self.given:
                return True, self.given[name]
        return False, None

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.given.get(name, default)
        if value not in {True, False, "true", "false"}:
            raise Problem(400, "query_parse_error", f'Invalid boolean parameter: "{value}"')
        return value in {True, "true"}

    @property
    def limit(self) -> int | None:
        return number(self.given["limit"]) if "limit" in self.given else None

    @property
    def skip(self) -> int:
        return number(self.given.get("skip", 0))

    def cut(self, rows: list[Row], order: Order, *, strict: bool = True) -> tuple[int, list[Row]]:
        """The rows within the keys, and how many of all come before them. `strict` refuses an empty range."""
        down = self.flag("descending")
        rows = sorted(rows, key=lambda row: (order(row.key), raw(row.id)), reverse=down)
        has_start, start = self.get("startkey", "start_key", "key")
        has_end, end = self.get("endkey", "end_key", "key")
        if has_start and has_end and strict and (order(start) > order(end)) != down and order(start) != order(end):
            raise Problem(400, "query_parse_error", RANGE)
        first = self.get("startkey_docid", "start_key_doc_id")[1]
        last = self.get("endkey_docid", "end_key_doc_id")[1]
        sign = -1 if down else 1
        before = 0
        if has_start:
            kept = [row for row in rows if compare(row, start, first, order) * sign >= 0]
            before, rows = len(rows) - len(kept), kept
        if has_end:
            reach = 0 if self.flag("inclusive_end", default=True) else -1
            rows = [row for row in rows if compare(row, end, last, order) * sign <= reach]
        return before, rows

    def page(self, rows: list[Row]) -> list[Row]:
        rows = rows[self.skip :]
        return rows if self.limit is None else rows[: self.limit]


def compare(row: Row, key: Json, doc_id: str | None, order: Order) -> int:
    mine, other = order(row.key), order(key)
    if mine == other and doc_id is not None:
        mine, other = raw(row.id), raw(doc_id)
    return int(mine > other) - int(mine < other)


def listing(name: str, rows: Iterable[Json], head: Mapping[str, Json]) -> bytes:
    """`{"total_rows":1,"offset":0,"rows":[` and a row on each line, as the server streams it."""
    front = dumps(head)[:-1]
    comma = b"," if head else b""
    lines = b",\n".join(dumps(row) for row in rows)
    return front + comma + b'"' + name.encode() + b'":[\n' + lines + b"\n]}"


def body_of(call: Call) -> Json:
    """The options of a POST; refused where it is none."""
    if call.method != "POST":
        return None
    body = call.json()
    if not isinstance(body, dict):
        raise bad("Request body must be a JSON object")
    if "keys" in body and not isinstance(body["keys"], list):
        raise bad("`keys` member must be an array.")
    return body


async def all_docs(call: Call) -> Answer:
    """`_all_docs`, `_design_docs`, and those of a partition."""
    database = database_of(call)
    if call.method == "POST" and call.parts[-1] == "queries":
        return queries(call, lambda body: all_docs_body(database, call, body))
    call.allow("GET", "HEAD", "POST")
    return Answer(body=all_docs_body(database, call, body_of(call)) + b"\n", chunked=True)


def queries(call: Call, run: Callable[[Json], bytes]) -> Answer:
    bodies = [run(body) for body in call.json()["queries"]]
    return Answer(body=b'{"results":[\n' + b",\n".join(bodies) + b"\n]}\n", chunked=True)


def all_docs_body(database: Database, call: Call, body: Json) -> bytes:
    options = Options.of(call, body=body)
    kept = [doc for doc in database if belongs(call, doc.id)]
    if call.parts[-1] == "_local_docs":
        rows = [Row(key=name, id=name, value={"rev": doc["_rev"]}) for name, doc in database.local.items()]
    else:
        rows = [Row(key=doc.id, id=doc.id, value={"rev": doc.winner.rev}) for doc in kept]
    total = len(rows)
    keys = options.given.get("keys")
    offset: int | None
    if keys is not None:
        offset, rows = None, options.page([keyed(database, key) for key in keys])
    else:
        before, rows = options.cut(rows, raw)
        offset, rows = before + options.skip, options.page(rows)
    head: dict[str, Json] = {"total_rows": total, "offset": offset}
    if options.flag("update_seq"):
        head["update_seq"] = pack_seq(database.sequence, database.uuid, call.node.name)
    return listing("rows", [row_json(row, database, options) for row in rows], head)


def belongs(call: Call, doc_id: str) -> bool:
    if "_partition" in call.parts:
        return doc_id.startswith(call.parts[call.parts.index("_partition") + 1] + ":")
    return "_design_docs" not in call.parts or doc_id.startswith("_design/")


def keyed(database: Database, key: Json) -> Row:
    doc = database.documents.get(key) if isinstance(key, str) else None
    if doc is None:
        return Row(key=key, value=None, error="not_found")
    value = {"rev": doc.winner.rev} | ({"deleted": True} if doc.winner.deleted else {})
    return Row(key=key, id=doc.id, value=value)


def row_json(row: Row, database: Database, options: Options) -> Json:
    if row.error is not None:
        return {"key": row.key, "error": row.error}
    found = {"id": row.id, "key": row.key, "value": row.value}
    if options.flag("include_docs"):
        found["doc"] = included(row, database, options)
    return found


def included(row: Row, database: Database, options: Options) -> Json:
    linked = row.value.get("_id", row.id) if isinstance(row.value, dict) else row.id
    if str(linked).startswith("_local/"):
        return database.local.get(str(linked))
    doc = database.documents.get(str(linked))
    if doc is None or doc.winner.deleted:
        return None
    wanted = {name: str(value).lower() for name, value in options.given.items() if name in {"conflicts", "attachments"}}
    return to_json(doc, doc.winner, wanted)


def view_of(database: Database, design: str, name: str) -> tuple[Document, Json]:
    doc = database.documents.get(f"_design/{design}")
    if doc is None:
        raise not_found()
    if doc.winner.deleted:
        raise not_found("deleted")
    found = doc.winner.body.get("views", {}).get(name)
    if found is None:
        raise not_found("missing_named_view")
    return doc, found


async def view(call: Call) -> Answer:
    """`/{db}/_design/{ddoc}/_view/{view}`, its `queries`, and that of a partition."""
    database = database_of(call)
    at = call.parts.index("_design") + 1
    _, found = view_of(database, call.parts[at], call.parts[at + 2])
    if call.parts[-1] == "queries" and len(call.parts) > at + 3:
        return queries(call, lambda body: view_body(database, call, found, body))
    call.allow("GET", "HEAD", "POST")
    return Answer(body=view_body(database, call, found, body_of(call)) + b"\n", chunked=True)


def view_body(database: Database, call: Call, found: Json, body: Json) -> bytes:
    options = Options.of(call, body=body)
    rows = [row for row in mapped(database, found["map"]) if belongs(call, row.id or "")]
    total = len(rows)
    reducing = "reduce" in found and options.flag("reduce", default=True)
    if reducing and options.flag("include_docs"):
        raise Problem(400, "query_parse_error", "`include_docs` is invalid for reduce")
    if not reducing and (options.flag("group") or "group_level" in options.given):
        raise Problem(400, "query_parse_error", "Invalid use of grouping on a map view.")
    keys = options.given.get("keys")
    if keys is not None:
        before, rows = 0, [row for key in keys for row in rows if collate(row.key) == collate(key)]
    else:
        before, rows = options.cut(rows, collate)
    if reducing:
        return listing("rows", reduced(options, rows, found["reduce"]), {})
    head: dict[str, Json] = {"total_rows": total, "offset": before + options.skip}
    if options.flag("update_seq"):
        head["update_seq"] = pack_seq(database.sequence, database.uuid, call.node.name)
    return listing("rows", [row_json(row, database, options) for row in options.page(rows)], head)


def mapped(database: Database, source: Json) -> list[Row]:
    script = Script(source)
    found = []
    for doc in database:
        if not doc.id.startswith("_design/"):
            script.run(to_json(doc, doc.winner, {}))
            found += [Row(key=key, value=value, id=doc.id) for key, value in script.emitted]
    return found


def reduced(options: Options, rows: list[Row], function: str) -> list[Json]:
    level = number(options.given["group_level"]) if "group_level" in options.given else 0
    exact = options.flag("group")
    groups: list[tuple[Json, list[Row]]] = []
    for row in rows:
        cut = row.key[:level] if isinstance(row.key, list) and not exact else row.key
        key = cut if level or exact else None
        if not groups or collate(groups[-1][0]) != collate(key):
            groups.append((key, []))
        groups[-1][1].append(row)
    found = [{"key": key, "value": reduce(function, members)} for key, members in groups]
    found = found[options.skip :]
    return found if options.limit is None else found[: options.limit]


def reduce(function: str, rows: list[Row]) -> Json:
    values = [row.value for row in rows]
    match function:
        case "_count":
            return len(values)
        case "_sum":
            return sum(values)
        case "_approx_count_distinct":
            return len({dumps(row.key) for row in rows})
        case "_stats":
            squares = sum(value * value for value in values)
            return {
                "sum": sum(values),
                "count": len(values),
                "min": min(values),
                "max": max(values),
                "sumsqr": squares,
            }
    raise Unknown


async def design_info(call: Call) -> Answer:
    database = database_of(call)
    doc = database.documents.get(f"_design/{call.parts[2]}")
    if doc is None or doc.winner.deleted:
        raise not_found()
    index = {
        "updates_pending": {"minimum": 0, "preferred": 0, "total": 0},
        "waiting_commit": False,
        "waiting_clients": 0,
        "updater_running": False,
        "update_seq": database.sequence,
        "sizes": {"file": 8488, "external": 0, "active": 0},
        "signature": doc.winner.rev.split("-")[1],
        "purge_seq": database.purges,
        "language": doc.winner.body.get("language", "javascript"),
        "collator_versions": ["153.120"],
        "compact_running": False,
    }
    return reply({"name": call.parts[2], "view_index": index})
