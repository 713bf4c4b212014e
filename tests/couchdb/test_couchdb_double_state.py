"""What the double does beyond the recorded exchanges: its state, its clock, its cluster, its loudness."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from doubles.couchdb import CouchDBDouble
from doubles.couchdb_auth import bearer
from doubles.couchdb_terms import Json

FAST = 0.002
ANYONE: Json = {"members": {}, "admins": {}}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


ADMIN = basic("admin", "secret")


class Asking:
    """A plain HTTP client: `status, body = await ask("PUT", "/db", {...})`, as the admin if nothing else is said."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url, self.http = url, http
        self.headers: dict[str, str] = {}

    async def __call__(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> tuple[int, Json]:
        sent = json.dumps(body).encode() if body is not None else data
        kind = {"Content-Type": "application/json"} if body is not None else {}
        given = {**kind, **(ADMIN if headers is None else headers)}
        async with self.http.request(method, self.url + path, data=sent, headers=given) as answer:
            self.headers = dict(answer.headers)
            content = await answer.read()
            is_json = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(content) if is_json and content.strip() else content


@asynccontextmanager
async def asking(couch: CouchDBDouble, node: int = 0) -> AsyncIterator[Asking]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Asking(couch.urls[node], http)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(FAST)


async def test_unknown_request_is_answered_501_and_fails_the_test() -> None:
    """A test that asks for what the double does not know cannot pass by accident."""
    with pytest.raises(AssertionError, match="GET /_oops"):
        async with CouchDBDouble() as couch, asking(couch) as ask:
            status, body = await ask("GET", "/_oops")
            assert (status, body["error"]) == (501, "unknown_to_the_double")


async def test_javascript_beyond_the_double_is_refused_loudly() -> None:
    """A map function that the double cannot read does not silently emit nothing."""
    view = {"views": {"v": {"map": "function(doc){ for (var i in doc) emit(i); }"}}}
    async with CouchDBDouble(strict=False) as couch, asking(couch) as ask:
        couch.create("db")
        couch.write("db", {"_id": "_design/d", **view})
        couch.write("db", {"_id": "a"})
        assert (await ask("GET", "/db/_design/d/_view/v"))[0] == 501
        assert len(couch.unknown) == 1


async def test_requests_are_kept_as_they_came() -> None:
    """Path with its escapes, query, headers and body."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        await ask("PUT", "/a%2Fb?q=4")
        await ask("POST", "/a%2Fb", {"n": 1})
        first, second = couch.requests
        assert (first.method, first.path, first.params) == ("PUT", "/a%2Fb", {"q": "4"})
        assert (second.json, second.headers["Authorization"]) == ({"n": 1}, ADMIN["Authorization"])


async def test_map_and_reduce() -> None:
    """A view gives rows in collation order; a built-in reduction groups them."""
    source = "function (doc) { if (doc.kind === 'bill' && doc.total > 0) { emit([doc.year, doc.month], doc.total); } }"
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        couch.write("db", {"_id": "_design/d", "views": {"v": {"map": source, "reduce": "_sum"}}})
        for index, (year, month, total) in enumerate([(2025, 1, 5), (2024, 2, 3), (2024, 1, 4), (2024, 3, 0)]):
            doc = {"_id": f"b{index}", "kind": "bill", "year": year, "month": month, "total": total}
            couch.write("db", doc)
        _, rows = await ask("GET", "/db/_design/d/_view/v?reduce=false&start_key=[2024]&include_docs=true")
        assert [row["id"] for row in rows["rows"]] == ["b2", "b1", "b0"]
        assert rows["total_rows"] == 3
        assert rows["rows"][0]["doc"]["total"] == 4
        _, sums = await ask("GET", "/db/_design/d/_view/v?group_level=1")
        assert sums == {"rows": [{"key": [2024], "value": 7}, {"key": [2025], "value": 5}]}
        status, missing = await ask("GET", "/db/_design/d/_view/w")
        assert (status, missing["reason"]) == (404, "missing_named_view")


async def test_find_pages_by_bookmark() -> None:
    """Each page begins where the bookmark says; the last one is empty and repeats it."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        for index in range(5):
            couch.write("db", {"_id": f"d{index}", "n": index})
        found, bookmark = [], "nil"
        for _ in range(4):
            query = {"selector": {"n": {"$gte": 1}}, "limit": 2, "bookmark": bookmark}
            _, page = await ask("POST", "/db/_find", query)
            found.append([doc["_id"] for doc in page["docs"]])
            bookmark = page["bookmark"]
        assert found == [["d1", "d2"], ["d3", "d4"], [], []]


async def test_sorting_needs_an_index() -> None:
    """Without one 400; with one the order of its field, and no warning."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        for index in range(3):
            couch.write("db", {"_id": f"d{index}", "n": -index})
        query = {"selector": {"n": {"$lt": 10}}, "sort": [{"n": "asc"}], "fields": ["_id"]}
        assert (await ask("POST", "/db/_find", query))[0] == 400
        await ask("POST", "/db/_index", {"index": {"fields": ["n"]}, "ddoc": "by", "name": "n"})
        _, page = await ask("POST", "/db/_find", query)
        assert page["docs"] == [{"_id": "d2"}, {"_id": "d1"}, {"_id": "d0"}]
        assert "warning" not in page
        assert (await ask("DELETE", "/db/_index/_design/by/json/n"))[0] == 200
        assert (await ask("POST", "/db/_find", query))[0] == 400


async def test_attachment_travels_both_ways() -> None:
    """Raw bytes under a document, with type, digest and ranges; stubs keep them when the document changes."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        data = bytes(range(256)) * 2048
        kind = {"Content-Type": "image/png"}
        status, made = await ask("PUT", "/db/a/pic%20one.png", data=data, headers=ADMIN | kind)
        assert (status, made["id"]) == (201, "a")
        assert (await ask("PUT", "/db/a/pic%20one.png", data=b"x", headers=ADMIN | kind))[0] == 409
        _, doc = await ask("GET", "/db/a")
        assert doc["_attachments"]["pic one.png"]["length"] == len(data)
        assert (await ask("PUT", "/db/a", {**doc, "n": 1}))[0] == 201
        assert await ask("GET", "/db/a/pic%20one.png") == (200, data)
        assert ask.headers["Content-Type"] == "image/png"
        assert await ask("GET", "/db/a/pic%20one.png", headers=ADMIN | {"Range": "bytes=2-4"}) == (206, b"\x02\x03\x04")
        status, missing = await ask("GET", "/db/a/nope")
        assert (status, missing["reason"]) == (404, "Document is missing attachment")


async def test_conflict_made_by_replication_has_one_winner_everywhere() -> None:
    """Two branches of one document: the higher hash wins, and the other is named as a conflict."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        for rev in ("2-bb", "2-aa"):
            doc = {"_id": "a", "_rev": rev, "_revisions": {"start": 2, "ids": [rev[2:], "cc"]}}
            await ask("POST", "/db/_bulk_docs", {"new_edits": False, "docs": [doc]})
        _, doc = await ask("GET", "/db/a?conflicts=true")
        assert (doc["_rev"], doc["_conflicts"]) == ("2-bb", ["2-aa"])
        assert (await ask("DELETE", "/db/a?rev=2-bb"))[0] == 200
        assert (await ask("GET", "/db/a"))[1]["_rev"] == "2-aa"


async def test_validation_function_forbids() -> None:
    """A design document's `validate_doc_update` may refuse a write, alone and in bulk."""
    source = "function (new_doc, old_doc, ctx) { if (!new_doc.owner) { throw({forbidden: 'no owner'}); } }"
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        couch.write("db", {"_id": "_design/d", "validate_doc_update": source})
        assert await ask("PUT", "/db/a", {}) == (403, {"error": "forbidden", "reason": "no owner"})
        _, rows = await ask("POST", "/db/_bulk_docs", {"docs": [{"_id": "a", "owner": "me"}, {"_id": "b"}]})
        assert [row.get("error") for row in rows] == [None, "forbidden"]


async def test_changes_are_filtered() -> None:
    """By ids, by a selector, by a function of a design document."""
    source = "function (doc, req) { return doc.n == req.query.n; }"
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        couch.write("db", {"_id": "_design/d", "filters": {"f": source}})
        for index in range(3):
            couch.write("db", {"_id": f"d{index}", "n": str(index)})

        async def ids(query: str, body: Json = None) -> list[str]:
            _, found = await ask("POST" if body else "GET", f"/db/_changes?{query}", body)
            return [row["id"] for row in found["results"]]

        assert await ids("filter=_doc_ids", {"doc_ids": ["d1"]}) == ["d1"]
        assert await ids("filter=_selector", {"selector": {"n": {"$gt": "0"}}}) == ["d1", "d2"]
        assert await ids("filter=d/f&n=2") == ["d2"]
        assert await ids("filter=_design") == ["_design/d"]


async def test_sequences_of_another_incarnation_replay_everything() -> None:
    """Without a word: the database was deleted and made again."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.create("db")
        couch.write("db", {"_id": "a"})
        _, before = await ask("GET", "/db/_changes")
        couch.destroy("db")
        couch.create("db")
        couch.write("db", {"_id": "b"})
        _, after = await ask("GET", f"/db/_changes?since={before['last_seq']}")
        assert [row["id"] for row in after["results"]] == ["b"]


async def test_older_server_lacks_what_it_is_told_to() -> None:
    """Told from a missing database by nothing: the same 404. A newer method of an old endpoint is a 405."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.lacks |= {"_reshard", "_versions", "GET _dbs_info"}
        status, body = await ask("GET", "/_reshard")
        assert (status, body["reason"]) == (404, "Database does not exist.")
        assert (await ask("GET", "/_node/_local/_versions"))[0] == 404
        assert (await ask("GET", "/_dbs_info"))[0] == 405
        assert (await ask("POST", "/_dbs_info", {"keys": []}))[0] == 200


async def test_body_is_asked_for_where_the_client_waits_for_that() -> None:
    """`Expect: 100-continue`, as uploads may send it."""
    async with CouchDBDouble() as couch, aiohttp.ClientSession(headers=ADMIN) as http:
        couch.create("db")
        async with http.put(f"{couch.url}/db/a/file", data=b"x" * 1000, expect100=True) as answer:
            assert answer.status == 201


async def test_settled_waits_for_the_events_of_databases() -> None:
    """What happened shows in `_db_updates` a little later, and no later than that."""
    async with CouchDBDouble(delay=0.05) as couch, asking(couch) as ask:
        couch.create("db")
        assert not [row for row in (await ask("GET", "/_db_updates"))[1]["results"] if row["db_name"] == "db"]
        await couch.settled()
        assert [row for row in (await ask("GET", "/_db_updates"))[1]["results"] if row["db_name"] == "db"]


async def test_nodes_share_one_state() -> None:
    """What one node was told, the others know; a stopped one refuses, the others go on."""
    async with CouchDBDouble(nodes=3) as couch, asking(couch, 0) as first, asking(couch, 2) as third:
        assert (await first("PUT", "/db"))[0] == 201
        await first("PUT", "/db/a", {"n": 1})
        assert (await third("GET", "/db/a"))[1]["n"] == 1
        _, one = await first("GET", "/db")
        _, other = await third("GET", "/db")
        assert one["update_seq"] != other["update_seq"], "sequences differ from node to node"
        await couch.stop(2)
        with pytest.raises(aiohttp.ClientConnectionError):
            await third("GET", "/")
        assert (await first("PUT", "/db/b", {}))[0] == 201
        await couch.stop(1)
        assert (await first("PUT", "/db/c", {}))[0] == 202
        assert (await first("GET", "/_node/n2@127.0.0.1"))[0] == 412
        await couch.start(2)
        assert (await third("GET", "/db/c"))[0] == 200


async def test_lockout_is_on_by_default_and_ends_by_the_clock() -> None:
    """Five wrong passwords lock the account, the right one included, for five minutes; cookies go on."""
    async with CouchDBDouble(users={"bob": ("pw", [])}) as couch, asking(couch) as ask:
        await ask("POST", "/_session", {"name": "bob", "password": "pw"}, headers={})
        cookie = {"Cookie": ask.headers["Set-Cookie"].split(";")[0]}
        for _ in range(5):
            assert (await ask("GET", "/_session", headers=basic("bob", "no")))[0] == 401
        assert (await ask("GET", "/_session", headers=basic("bob", "pw")))[0] == 403
        assert (await ask("GET", "/_session", headers=cookie))[1]["userCtx"]["name"] == "bob"
        couch.advance(301)
        assert (await ask("GET", "/_session", headers=basic("bob", "pw")))[0] == 200


async def test_cookie_is_renewed_and_expires_by_the_clock() -> None:
    """Under nine tenths of its life a new one comes with any answer; after its life it is nobody's."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        await ask("POST", "/_session", {"name": "admin", "password": "secret"}, headers={})
        cookie = {"Cookie": ask.headers["Set-Cookie"].split(";")[0]}
        assert (await ask("GET", "/_all_dbs", headers=cookie))[0] == 200
        assert "Set-Cookie" not in ask.headers
        couch.advance(70)
        assert (await ask("GET", "/_all_dbs", headers=cookie))[0] == 200
        assert ask.headers["Set-Cookie"].startswith("AuthSession=")
        couch.advance(540)
        assert (await ask("GET", "/_all_dbs", headers=cookie))[0] == 401


async def test_jwt_is_checked() -> None:
    """Handlers are read when the server starts; then a good token is its subject, a forged one refused."""
    key = base64.b64encode(b"k" * 32).decode()
    async with CouchDBDouble() as couch, asking(couch) as ask:
        couch.config["jwt_keys"]["hmac:_default"] = key
        couch.config["chttpd"]["authentication_handlers"] = "{chttpd_auth, jwt_authentication_handler}"
        token = bearer(key, {"sub": "dave", "exp": couch.now() + 60, "_couchdb.roles": ["_admin"]})
        given = {"Authorization": f"Bearer {token}"}
        assert (await ask("GET", "/_session", headers=given))[1]["userCtx"]["name"] is None
        await couch.restart()
        assert (await ask("GET", "/_session", headers=given))[1]["userCtx"]["name"] == "dave"
        forged = {"Authorization": f"Bearer {token[:-4]}AAAA"}
        assert await ask("GET", "/_session", headers=forged) == (400, {"error": "bad_request", "reason": "Bad HMAC"})


async def test_users_of_the_database_log_in_with_their_password() -> None:
    """A document in `_users` keeps no password, and its name and password are good for a login."""
    async with CouchDBDouble() as couch, asking(couch) as ask:
        user = {"name": "eve", "password": "pw", "roles": ["r"], "type": "user"}
        assert (await ask("PUT", "/_users/org.couchdb.user:eve", user))[0] == 201
        assert "password" not in couch.read("_users", "org.couchdb.user:eve")
        couch.create("db").security = {"members": {"roles": ["r"]}, "admins": {}}
        assert (await ask("PUT", "/db/a", {}, headers=basic("eve", "pw")))[0] == 201
        assert (await ask("PUT", "/db/_design/d", {}, headers=basic("eve", "pw")))[0] == 401


async def test_replication_copies_from_one_double_to_another() -> None:
    """Revisions, deletions and all, between two servers of one process."""
    async with CouchDBDouble(delay=FAST) as here, CouchDBDouble(delay=FAST) as there, asking(here) as ask:
        there.create("src")
        for n in range(3):
            there.write("src", {"_id": "a", "n": n})
        there.write("src", {"_id": "b"})
        there.write("src", {"_id": "b", "_deleted": True})
        source = there.url.replace("//", "//admin:secret@") + "/src"
        target = here.url.replace("//", "//admin:secret@") + "/copy"
        body = {"source": source, "target": target, "create_target": True}
        status, answer = await ask("POST", "/_replicate", body)
        assert (status, answer["history"][0]["docs_written"]) == (200, 2)
        assert here.read("copy", "a") == there.read("src", "a")
        assert here.read("copy", "b") is None
        _, doc = await ask("GET", "/copy/a?revs=true")
        assert doc["_revisions"]["start"] == len(doc["_revisions"]["ids"]) == 3, "with its history"


async def test_replication_document_walks_its_states() -> None:
    """Held it stays running; let go it completes, and says so in its document."""
    async with CouchDBDouble(delay=FAST) as couch, asking(couch) as ask:
        couch.create("src")
        couch.write("src", {"_id": "a"})
        couch.hold.clear()
        await ask("PUT", "/_replicator/r", {"source": "src", "target": "copy", "create_target": True})
        job = couch.replicator.documents["_replicator", "r"]
        await until(lambda: job.state == "running")
        assert (await ask("GET", "/_scheduler/docs/_replicator/r"))[1]["state"] == "running"
        couch.hold.set()
        await until(lambda: job.state == "completed")
        _, shown = await ask("GET", "/_scheduler/docs/_replicator/r")
        assert (shown["state"], shown["info"]["docs_written"]) == ("completed", 1)
        assert couch.read("_replicator", "r")["_replication_state"] == "completed"


async def test_ordered_failure_of_a_replication() -> None:
    """A test may order the failure that it needs, of `_replicate` and of a document."""
    async with CouchDBDouble(delay=FAST) as couch, asking(couch) as ask:
        couch.create("src")
        couch.create("tgt")
        couch.replication_fails = "unauthorized"
        assert (await ask("POST", "/_replicate", {"source": "src", "target": "tgt"}))[0] == 403
        await ask("PUT", "/_replicator/r", {"source": "src", "target": "tgt"})
        job = couch.replicator.documents["_replicator", "r"]
        await until(lambda: job.state == "crashing")
        couch.replication_fails = None
        await until(lambda: job.state == "completed")


async def test_resharding_walks_its_states() -> None:
    """Eleven states, two shards for one, and the failure that a test orders."""
    async with CouchDBDouble(delay=FAST) as couch, asking(couch) as ask:
        couch.create("db", q=1)
        _, [made] = await ask("POST", "/_reshard/jobs", {"type": "split", "db": "db"})
        job = couch.resharder.jobs[made["id"]]
        await until(lambda: job.state == "completed")
        assert len({step["detail"] for step in job.history}) == 10
        assert len((await ask("GET", "/db/_shards"))[1]["shards"]) == 2
        couch.reshard_fails = "disk full"
        _, made = await ask("POST", "/_reshard/jobs", {"type": "split", "db": "db", "range": "00000000-7fffffff"})
        failing = couch.resharder.jobs[made[0]["id"]]
        await until(lambda: failing.state == "failed")
        assert (await ask("GET", "/_reshard"))[1]["failed"] == 1
