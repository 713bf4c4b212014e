"""`_changes` and `_db_updates` in their four modes, with the differences and the defects of the real ones.

`_changes` sends its headers at once; `_db_updates` with its first event, heartbeat or end. `_db_updates` as an
eventsource crashes at its second heartbeat or first live event: a literal `HTTP/1.1 500` stands in the body, and the
socket stays open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from urllib.parse import unquote

from attrs import define, field, frozen
from doubles.couchdb_docs import database_of, to_json
from doubles.couchdb_http import Answer, Call, Line, bad, crash, error_inside, forever, no_database, not_found
from doubles.couchdb_mango import check, matches
from doubles.couchdb_script import Script
from doubles.couchdb_store import Database, Document
from doubles.couchdb_terms import Json, dumps, etag, pack_seq, unpack_seq
from doubles.couchdb_views import view_of

DEFAULT_WAIT = 60.0
BEAT = b"event: heartbeat\ndata: \n\n"
MALFORMED = "Malformed sequence supplied in 'since' parameter."


@frozen(kw_only=True)
class Change:
    number: int
    seq: str
    row: Json
    event: Json
    """The same as an eventsource shows it: on `_db_updates` the raw row of `_global_changes`."""


@define(kw_only=True)
class Feed:
    call: Call
    database: Database
    mode: str
    since: int
    limit: int | None
    heartbeat: float | None
    wait: float
    on_changes: bool
    """`_changes`, not `_db_updates`."""
    keep: Callable[[Document], bool] = lambda doc: True
    show: Callable[[Document], Json] = lambda doc: {}
    descending: bool = False
    line: Line = field(init=False)
    beats: int = 0
    written: int = 0
    begun: bool = False

    def __attrs_post_init__(self) -> None:
        source = self.mode == "eventsource"
        kind = "text/event-stream" if source else "application/json"
        cache = "no-cache" if source else "must-revalidate"
        headers = self.call.couch.common_headers(self.call) | {"Content-Type": kind, "Cache-Control": cache}
        if self.mode == "normal":
            headers["ETag"] = etag(self.database.uuid, self.database.sequence)
        self.line = Line(call=self.call, headers=headers)

    @property
    def full(self) -> bool:
        return self.limit is not None and self.written >= self.limit

    def fresh(self) -> list[Change]:
        """What came after the cursor, moved up to the last row taken or to the end."""
        found: list[Change] = []
        for doc_id, number in sorted(self.database.order.items(), key=lambda one: one[1], reverse=self.descending):
            if self.limit is not None and self.written + len(found) >= self.limit:
                return found
            if number > self.since or self.descending:
                doc = self.database.documents[doc_id]
                if self.keep(doc):
                    found.append(self.change(doc, number))
                self.since = number
        return found

    def change(self, doc: Document, number: int) -> Change:
        seq = self.seq(number)
        revs = [{"rev": doc.winner.rev}]
        if self.call.query.get("style") == "all_docs":
            revs = [{"rev": leaf.rev} for leaf in doc.leaves()]
        event: Json = {"seq": seq, "id": doc.id, "changes": revs}
        if doc.winner.deleted:
            event["deleted"] = True
        event |= self.show(doc)
        kind, _, name = doc.id.partition(":")
        row = event if self.on_changes else {"db_name": name, "type": kind, "seq": seq}
        return Change(number=number, seq=seq, row=row, event=event)

    def seq(self, number: int) -> str:
        return pack_seq(number, self.database.uuid, self.call.node.name)

    def tail(self) -> bytes:
        pending = sum(1 for number in self.database.order.values() if number > self.since)
        last = {"last_seq": self.seq(self.since)} | ({"pending": pending} if self.on_changes else {})
        return dumps(last)

    async def run(self) -> None:
        self.call.couch.open_feeds += 1
        try:
            await self.follow()
        finally:
            self.call.couch.open_feeds -= 1

    async def follow(self) -> None:
        await self.send(self.fresh())
        if self.mode == "normal" or self.full or (self.mode == "longpoll" and self.written):
            return await self.finish()
        if self.on_changes and not self.line.sent:
            await self.begin()
            await self.line.write(b"\n")
        watcher = asyncio.Event()
        self.database.watchers.add(watcher)
        try:
            await self.wait_for(watcher)
        finally:
            self.database.watchers.discard(watcher)
        return await self.finish()

    async def wait_for(self, watcher: asyncio.Event) -> None:
        """Live rows and heartbeats, until the limit, the end of patience or of the database."""
        loop = asyncio.get_running_loop()
        beat_at = loop.time() + (self.heartbeat or 0)
        give_up = loop.time() + self.wait
        while not self.database.gone:
            ends = beat_at if self.heartbeat is not None else give_up
            try:
                async with asyncio.timeout_at(ends):
                    await watcher.wait()
            except TimeoutError:
                if self.heartbeat is None:
                    return
                await self.beat()
                beat_at = loop.time() + self.heartbeat
                continue
            watcher.clear()
            if await self.live(due=self.heartbeat is not None and loop.time() >= beat_at):
                return
            give_up = loop.time() + self.wait

    async def live(self, *, due: bool) -> bool:
        """Sends what is new. True: that was the last."""
        rows = self.fresh()
        if not rows:
            return False
        source = self.mode == "eventsource"
        if self.on_changes or due or (source and not self.beats):
            await self.beat()
        if source and not self.on_changes:
            await self.crash()
        await self.send(rows)
        return self.full or self.mode == "longpoll"

    async def beat(self) -> None:
        await self.begin()
        if self.mode == "eventsource":
            if self.beats and not self.on_changes:
                await self.crash()
            self.beats += 1
            return await self.line.write(BEAT)
        return await self.line.write(b"\n")

    async def crash(self) -> None:
        """Never returns: the feed is dead, its socket is not."""
        transport = self.call.request.transport
        assert transport is not None
        transport.write(error_inside(self.call))
        await forever()

    async def begin(self) -> None:
        if not self.begun and self.mode in {"normal", "longpoll"}:
            self.begun = True
            await self.line.write(b'{"results":[\n')

    async def send(self, changes: list[Change]) -> None:
        for change in changes:
            await self.begin()
            await self.line.write(self.framed(change))
            self.written += 1

    def framed(self, change: Change) -> bytes:
        match self.mode:
            case "eventsource":
                return b"data: " + dumps(change.event) + b"\nid: " + dumps(change.seq) + b"\n\n"
            case "continuous" | "live":
                return dumps(change.row) + b"\n"
        return (b",\r\n" if self.written else b"") + dumps(change.row)

    async def finish(self) -> None:
        match self.mode:
            case "normal" | "longpoll":
                await self.begin()
                await self.line.write(b"\n],\n" + self.tail()[1:] + b"\n")
            case "continuous" | "live":
                await self.line.write(self.tail() + b"\n")
        await self.line.write(b"\n")
        await self.line.end()


async def changes(call: Call) -> Answer | None:
    call.allow("GET", "HEAD", "POST")
    database = database_of(call)
    query, mode = call.query, call.query.get("feed", "normal")
    if mode not in {"normal", "continuous", "live", "longpoll", "eventsource"}:
        raise bad("Supported `feed` types: normal, continuous, live, longpoll, eventsource")
    if not query.get("timeout", "1").isdigit():
        raise crash()
    limit = int(query["limit"]) if "limit" in query else None
    feed = Feed(
        call=call,
        database=database,
        mode=mode,
        since=start(call, database),
        limit=limit if limit is None else max(limit, 1),
        heartbeat=changes_heartbeat(call),
        wait=wait_of(call),
        on_changes=True,
        keep=filter_of(call, database),
        show=lambda doc: shown(doc, query),
        descending=call.flag("descending"),
    )
    return await answered(feed)


def shown(doc: Document, query: dict[str, str]) -> Json:
    return {"doc": to_json(doc, doc.winner, query)} if query.get("include_docs") == "true" else {}


async def answered(feed: Feed) -> Answer | None:
    tag = etag(feed.database.uuid, feed.database.sequence)
    if feed.mode == "normal" and feed.call.headers.get("If-None-Match") == tag:
        return Answer(status=304, headers={"ETag": tag}, content_type=None, cache=None)
    if feed.call.method == "HEAD":
        return Answer(headers={"ETag": tag})
    await feed.run()
    return None


def start(call: Call, database: Database) -> int:
    """Where the cursor stands. A sequence of another incarnation replays everything, without a word."""
    since = call.query.get("since")
    if since is None and call.query.get("feed") == "eventsource" and "Last-Event-ID" in call.headers:
        since = unquote(call.headers["Last-Event-ID"]) if call.parts[0] != "_db_updates" else None
    if since is None or since in {"0", '"0"'}:
        return 0
    if since == "now":
        return database.sequence
    number = unpack_seq(since.strip('"'), database.uuid)
    if number is None:
        raise bad(MALFORMED)
    return number


def changes_heartbeat(call: Call) -> float | None:
    text = call.query.get("heartbeat")
    if text is None or text == "false":
        return None
    if text == "true":
        return DEFAULT_WAIT * call.couch.pace
    if not text.lstrip("-").isdigit():
        raise bad("Invalid heartbeat value. Expecting a positive integer value (in milliseconds).")
    if int(text) <= 0:
        raise bad("The heartbeat value should be a positive integer (in milliseconds).")
    return int(text) / 1000 * call.couch.pace


def wait_of(call: Call) -> float:
    text = call.query.get("timeout")
    return (DEFAULT_WAIT if text is None else min(int(text) / 1000, DEFAULT_WAIT)) * call.couch.pace


def filter_of(call: Call, database: Database) -> Callable[[Document], bool]:
    """`filter=`: the built-in ones, a view's, or a function of a design document."""
    name = call.query.get("filter")
    match name:
        case None:
            return lambda doc: True
        case "_doc_ids":
            ids = call.json()["doc_ids"] if call.method == "POST" else json.loads(call.query["doc_ids"])
            return lambda doc: doc.id in ids
        case "_selector":
            selector = call.json()["selector"]
            check(selector)
            return lambda doc: matches(to_json(doc, doc.winner, {}), selector)
        case "_design":
            return lambda doc: doc.id.startswith("_design/")
        case "_view":
            source = view_of(database, *call.query["view"].split("/"))[1]["map"]
            return lambda doc: emits(source, doc)
    design, _, function = name.partition("/")
    found = database.documents.get(f"_design/{design}")
    if found is None or found.winner.deleted:
        raise not_found()
    source = found.winner.body.get("filters", {}).get(function)
    if source is None:
        raise not_found(f"missing json key: {function}")
    request = {"query": call.query, "method": call.method}
    return lambda doc: bool(Script(source).run(to_json(doc, doc.winner, {}), request))


def emits(source: str, doc: Document) -> bool:
    script = Script(source)
    script.run(to_json(doc, doc.winner, {}))
    return bool(script.emitted)


async def db_updates(call: Call) -> Answer | None:
    call.allow("GET") if call.method != "HEAD" else None
    database = call.couch.state.databases.get("_global_changes")
    if database is None:
        raise no_database()
    query, mode = call.query, call.query.get("feed", "normal")
    if mode not in {"normal", "continuous", "longpoll", "eventsource"}:
        raise bad("Supported `feed` types: normal, continuous, longpoll, eventsource")
    for name in ("timeout", "limit"):
        if not query.get(name, "1").isdigit():
            raise bad("invalid_integer")
    beat = query.get("heartbeat")
    if beat not in {None, "true", "false"} and not str(beat).isdigit():
        raise bad("invalid_integer")
    feed = Feed(
        call=call,
        database=database,
        mode=mode,
        since=start(call, database),
        limit=int(query["limit"]) if "limit" in query else None,
        heartbeat=changes_heartbeat(call),
        wait=wait_of(call),
        on_changes=False,
        descending=call.flag("descending"),
    )
    return await answered(feed)
