"""The whole server's endpoints, each with its success and its errors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble, Status

from aetcd.couchdb import (
    ActiveTask,
    BadRequest,
    CompactionTask,
    CouchDB,
    EndpointUnsupported,
    IndexerTask,
    NodeDown,
    NodeNotFound,
    ReplicationTask,
    Seed,
    ServerStatus,
    ServiceUnavailable,
    Unauthorized,
    WrongPassword,
)
from aetcd.errors import (
    ConfigError,
    ConnectFailed,
    CouchDBError,
    DecodeError,
    NoPeerAvailable,
    ServerError,
    Unsupported,
)


async def test_info(couch: CouchDB) -> None:
    """Version and identity, what the reference lacks included."""
    info = await couch.info()
    assert (info.version, info.couchdb, info.vendor.name) == ("3.5.0", "Welcome", "The Apache Software Foundation")
    assert info.uuid
    assert "scheduler" in info.features
    assert info.git_sha == "11f0d3643"


async def test_info_with_a_wrong_password(double: CouchDBDouble) -> None:
    """A wrong password is refused even where none is needed."""
    async with CouchDB(double.url, username="admin", password="wrong") as couch:
        with pytest.raises(WrongPassword) as caught:
            await couch.info()
    assert caught.value.status == 401
    assert caught.value.error == "unauthorized"
    assert caught.value.reason == "Name or password is incorrect."
    assert caught.value.peer == double.url


async def test_every_request_asks_for_json(double: CouchDBDouble, couch: CouchDB) -> None:
    """With text/html a 401 would come as a redirect to a page."""
    await couch.info()
    await couch.utils()
    await couch.node().prometheus()
    async with couch.db_updates(feed="normal") as updates:
        [event async for event in updates]
    assert {seen.headers["Accept"] for seen in double.requests} == {"application/json"}
    double.create("x")
    await couch["x"].put_attachment("a", "b", b"c")
    async with couch["x"].attachment("a", "b") as attachment:
        await attachment.read()
    # The attachment itself may be anything; a refusal is JSON.
    assert double.requests[-1].headers["Accept"] == "application/json, */*"


async def test_json_that_comes_as_text() -> None:
    """What the Content-Type says does not matter."""
    body = b'{"couchdb":"Welcome","version":"1.6.1"}'
    async with raw_server(lambda _: [whole(body)]) as raw, CouchDB(raw.url) as couch:
        assert (await couch.info()).version == "1.6.1"


async def test_what_is_no_json() -> None:
    """It is told, and not guessed."""
    async with raw_server(lambda _: [whole(b"<html>")]) as raw, CouchDB(raw.url) as couch:
        with pytest.raises(DecodeError, match="server info"):
            await couch.info()


@pytest.mark.parametrize("status", ["ok", "maintenance_mode", "nolb", "seeding"])
async def test_up(double: CouchDBDouble, couch: CouchDB, status: str) -> None:
    """A node that is not there for requests is an answer, and no error."""
    double.status = status
    up = await couch.up()
    assert up.status is ServerStatus(status)
    assert up.ok is (status == "ok")
    assert up.peer == double.url
    assert "Authorization" not in double.requests[-1].headers


async def test_up_tells_of_seeds() -> None:
    """With the time at which each was asked, if it was."""
    body = (
        b'{"status":"seeding","seeds":{"a@b":{"timestamp":"2026-11-22T10:00:00.5Z","last_replication_status":"ok",'
        b'"pending_updates":{"_dbs":3}},"c@d":{"timestamp":null,"last_replication_status":"pending"}}}'
    )
    async with raw_server(lambda _: [whole(body, "404 Object Not Found")]) as raw, CouchDB(raw.url) as couch:
        seeds = (await couch.up()).seeds
    moment = datetime(2026, 11, 22, 10, 0, 0, 500_000, tzinfo=UTC)
    assert seeds["a@b"] == Seed(status="ok", timestamp=moment, extra={"pending_updates": {"_dbs": 3}})
    assert seeds["c@d"] == Seed(status="pending")


async def test_up_of_a_server_that_wants_a_user_for_everything() -> None:
    """`require_valid_user`: it is asked again, as the user, at the same peer."""
    refused = whole(b'{"error":"unauthorized","reason":"Authentication required."}', "401 Unauthorized")
    answers = iter([refused, whole(b'{"status":"ok"}')])
    async with raw_server(lambda _: [next(answers)]) as raw, CouchDB(raw.url, username="a", password="b") as couch:
        assert (await couch.up()).ok
    assert ["Authorization" in head for head in raw.heads] == [False, True]


async def test_up_of_one_peer(pair: CouchDBDouble, both: CouchDB) -> None:
    """Each node can be asked by itself."""
    assert [(await both.up(peer=url)).peer for url in pair.urls] == pair.urls
    await pair.stop(1)
    with pytest.raises(ConnectFailed):
        await both.up(peer=pair.urls[1])
    await pair.stop(0)
    with pytest.raises(NoPeerAvailable):
        await both.up()


async def test_unknown_status_is_kept() -> None:
    """A newer server may know more words."""
    async with raw_server(lambda _: [whole(b'{"status":"drowsy"}', "404 Object Not Found")]) as raw:
        async with CouchDB(raw.url) as couch:
            assert (await couch.up()).status.value == "drowsy"


TASKS = [
    {
        "node": "n0@127.0.0.1",
        "pid": "<0.1.0>",
        "process_status": "waiting",
        "changes_done": 3,
        "database": "shards/80000000-ffffffff/big.1795314794",
        "phase": "document_copy",
        "progress": 12,
        "started_on": 1795314797,
        "total_changes": 30000,
        "type": "database_compaction",
        "updated_on": 1795314804,
    },
    {"type": "view_compaction", "pid": "<0.2.0>", "design_document": "_design/d", "total_changes": 5},
    {"type": "indexer", "pid": "<0.3.0>", "design_document": "_design/d", "changes_done": 202, "total_changes": 9},
    {
        "type": "replication",
        "pid": "<0.4.0>",
        "replication_id": "97bb+continuous",
        "continuous": True,
        "docs_written": 6,
        "changes_pending": None,
        "checkpoint_interval": 30000,
        "source_seq": "0",
        "started_on": 1795314106,
    },
    {"type": "search_indexer", "pid": "<0.5.0>", "index": "_design/d/s"},
]


async def test_active_tasks(double: CouchDBDouble, couch: CouchDB) -> None:
    """One class for each kind; what is not known keeps its fields; times are aware."""
    double.tasks += TASKS
    compaction, view, indexer, replication, other = await couch.active_tasks()
    assert isinstance(compaction, CompactionTask)
    assert (compaction.changes_done, compaction.total_changes, compaction.phase) == (3, 30000, "document_copy")
    assert compaction.started == datetime.fromtimestamp(1795314797, UTC)
    assert compaction.updated is not None
    assert compaction.progress == 12
    assert isinstance(view, CompactionTask)
    assert view.design_document == "_design/d"
    assert view.started is None
    assert isinstance(indexer, IndexerTask)
    assert isinstance(replication, ReplicationTask)
    assert (replication.replication_id, replication.changes_pending) == ("97bb+continuous", None)
    assert replication.checkpoint_interval == 30
    assert type(other) is ActiveTask
    assert other.extra == {"index": "_design/d/s"}


async def test_all_dbs(double: CouchDBDouble, couch: CouchDB) -> None:
    """Names in order, bounded as asked for, with the ETag."""
    for name in ("animals", "plants", "zeta"):
        double.create(name)
    names = await couch.all_dbs()
    assert names == ["_global_changes", "_replicator", "_users", "animals", "plants", "zeta"]
    assert names.etag
    assert await couch.all_dbs(start="b") == ["plants", "zeta"]
    assert await couch.all_dbs(start="a", end="plants") == ["animals", "plants"]
    assert await couch.all_dbs(start="a", end="plants", inclusive_end=False) == ["animals"]
    assert await couch.all_dbs(descending=True, limit=2) == ["zeta", "plants"]
    assert await couch.all_dbs(skip=3, limit=1) == ["animals"]
    assert await couch.all_dbs(start='we"ird') == ["zeta"]


@pytest.mark.parametrize(
    ("settings", "argument"),
    [({"limit": -1}, "limit"), ({"skip": -1}, "skip"), ({"start": 5}, "start"), ({"descending": "yes"}, "descending")],
)
async def test_all_dbs_arguments(
    double: CouchDBDouble, couch: CouchDB, settings: dict[str, object], argument: str
) -> None:
    """Named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        await couch.all_dbs(**settings)  # type: ignore[arg-type]
    assert double.requests == []


async def test_dbs_info(double: CouchDBDouble, couch: CouchDB) -> None:
    """In the order asked for; None for one that is missing."""
    double.create("animals")
    double.create("plants")
    double.write("plants", {"_id": "rose"})
    plants, nope, animals = await couch.dbs_info(["plants", "nope", "animals"])
    assert nope is None
    assert plants is not None
    assert animals is not None
    assert (plants.name, plants.doc_count, animals.name) == ("plants", 1, "animals")
    assert plants.started is not None
    assert plants.started.tzinfo is not None
    assert await couch.dbs_info([]) == []


async def test_dbs_info_of_more_than_a_hundred(double: CouchDBDouble, couch: CouchDB) -> None:
    """The server takes 100 at a time: they are split, and joined in order."""
    names = [f"d{number:03}" for number in range(250)]
    for name in names:
        double.create(name)
    found = await couch.dbs_info([*names, "nope"])
    assert [info and info.name for info in found] == [*names, None]
    assert [len(seen.json["keys"]) for seen in double.requests] == [100, 100, 51]


async def test_dbs_info_of_all(double: CouchDBDouble, couch: CouchDB) -> None:
    """Without names it is all of them, or a range."""
    double.create("animals")
    double.create("plants")
    found = await couch.dbs_info(start="a", limit=1)
    assert [info and info.name for info in found] == ["animals"]
    assert len(await couch.dbs_info()) == 5
    with pytest.raises(ValueError, match="names"):
        await couch.dbs_info(["animals"], limit=1)
    with pytest.raises(TypeError, match="names"):
        await couch.dbs_info("animals")


async def test_membership(pair: CouchDBDouble, both: CouchDB) -> None:
    """Erlang names, and which of them are down."""
    assert (await both.membership()).cluster_nodes == ("n0@127.0.0.1", "n1@127.0.0.1")
    pair.lost_nodes.add("n1@127.0.0.1")
    membership = await both.membership()
    assert membership.down == ("n1@127.0.0.1",)
    assert [seen.node for seen in pair.requests]
    assert len(both.status().peers) == 2


async def test_uuids(double: CouchDBDouble, couch: CouchDB) -> None:
    """So many, with the answer's ETag."""
    found = await couch.uuids(3)
    assert len(set(found)) == 3
    assert found.etag
    assert await couch.uuids(0) == []
    with pytest.raises(BadRequest, match="too large"):
        await couch.uuids(1001)
    with pytest.raises(ValueError, match="count"):
        await couch.uuids(-1)


async def test_session(couch: CouchDB, bob: CouchDB, double: CouchDBDouble) -> None:
    """Who the server takes the client for."""
    assert (await couch.session()).is_admin
    mine = await bob.session()
    assert (mine.name, mine.roles, mine.is_admin, mine.authenticated) == ("bob", ("r1",), False, "default")
    async with CouchDB(double.url) as nobody:
        assert (await nobody.session()).name is None


async def test_search_analyze(couch: CouchDB, bob: CouchDB) -> None:
    """Without the plugin the server says so; with one it gives tokens."""
    with pytest.raises(ServiceUnavailable, match="Search is not available"):
        await couch.search_analyze("english", "running")
    with pytest.raises(Unauthorized):
        await bob.search_analyze("english", "running")
    with pytest.raises(ValueError, match="analyzer"):
        await couch.search_analyze("", "running")
    async with raw_server(lambda _: [whole(b'{"tokens":["run"]}')]) as raw, CouchDB(raw.url) as other:
        assert (await other.search_analyze("english", "running")).tokens == ("run",)


async def test_utils(double: CouchDBDouble, couch: CouchDB) -> None:
    """The page behind the redirect."""
    found = await couch.utils()
    assert (found.status, found.url) == (200, f"{double.url}/_utils/")


async def test_utils_that_is_missing() -> None:
    """Is a status, and no error."""
    async with raw_server(lambda _: [whole(b"Not found.", "404 Object Not Found")]) as raw, CouchDB(raw.url) as couch:
        assert (await couch.utils()).status == 404


async def test_favicon(double: CouchDBDouble, couch: CouchDB) -> None:
    """Bytes, or None."""
    assert await couch.favicon() is None
    double.icon = b"\x00\x00\x01\x00"
    assert await couch.favicon() == b"\x00\x00\x01\x00"


@pytest.mark.parametrize(
    "call",
    [
        "active_tasks",
        "all_dbs",
        "dbs_info",
        "membership",
    ],
)
async def test_no_administrator(bob: CouchDB, call: str) -> None:
    """What 3.x keeps for administrators."""
    with pytest.raises(Unauthorized, match="not a server admin") as caught:
        await getattr(bob, call)()
    assert caught.value.operation


async def test_request_id(double: CouchDBDouble, bob: CouchDB) -> None:
    """Under which the server logged the refusal; some endpoints send none."""
    with pytest.raises(Unauthorized) as caught:
        await bob.active_tasks()
    assert caught.value.request_id
    body = b'{"error":"unauthorized","reason":"You are not a server admin."}'
    async with raw_server(lambda _: [whole(body, "401 Unauthorized")]) as raw, CouchDB(raw.url) as other:
        with pytest.raises(Unauthorized) as caught:
            await other.membership()
    assert caught.value.request_id is None


async def test_errors_are_of_the_common_tree(bob: CouchDB) -> None:
    """Who catches what all systems have in common catches this."""
    with pytest.raises(CouchDBError):
        await bob.all_dbs()
    with pytest.raises(ServerError):
        await bob.all_dbs()


@pytest.mark.parametrize(
    ("version", "lacks", "call", "needs"),
    [
        ("2.1.0", "_dbs_info", lambda couch: couch.dbs_info(["a"]), "2.2"),
        ("1.6.1", "_membership", lambda couch: couch.membership(), "2.0"),
        ("2.3.1", "_reshard", lambda couch: couch.reshard.summary(), "2.4"),
        ("2.0.0", "_scheduler", lambda couch: couch.scheduler.jobs().all(), "2.1"),
        ("1.3.0", "_db_updates", lambda couch: couch.db_updates(since="now").__aenter__(), "1.4"),
        ("2.3.1", "_search_analyze", lambda couch: couch.search_analyze("a", "b"), "3.0"),
        ("1.6.1", "_cluster_setup", lambda couch: couch.cluster_setup().status(), "2.0"),
        ("1.6.1", "_up", lambda couch: couch.up(), "2.0"),
        ("3.1.2", "GET _dbs_info", lambda couch: couch.dbs_info(), "3.2"),
        ("3.1.2", "_prometheus", lambda couch: couch.node().prometheus(), "3.2"),
        ("3.2.0", "_versions", lambda couch: couch.node().versions(), "3.3"),
        ("2.3.1", "_reshard", lambda couch: couch.reshard.job("x").remove(), "2.4"),
    ],
)
async def test_old_server(
    double: CouchDBDouble, couch: CouchDB, version: str, lacks: str, call: object, needs: str
) -> None:
    """An endpoint that the server lacks is told from a database that is missing, with the version that has it."""
    double.version = version
    double.lacks.add(lacks)
    with pytest.raises(EndpointUnsupported) as caught:
        await call(couch)  # type: ignore[operator]
    assert (caught.value.needs, caught.value.version) == (needs, version)
    assert isinstance(caught.value, Unsupported)


async def test_missing_database_of_a_new_server(double: CouchDBDouble, couch: CouchDB) -> None:
    """Of a server that has the endpoint it is the database that is missing."""
    double.destroy("_replicator")
    with pytest.raises(CouchDBError, match="Database does not exist"):
        await couch.scheduler.docs().all()


async def test_missing_node_of_an_old_server(double: CouchDBDouble, couch: CouchDB) -> None:
    """Of a node that is not there nothing can be said but that."""
    double.version = "3.1.2"
    with pytest.raises(NodeNotFound):
        await couch.node("nope@127.0.0.1").versions()


async def test_failover_to_a_node_that_serves(pair: CouchDBDouble, both: CouchDB) -> None:
    """Any node serves: a read goes to the other one."""
    await pair.stop(0)
    assert "_users" in await both.all_dbs()
    await pair.start(0)
    pair.inject(Status(500, "nodedown", "progress not possible"), path="/_all_dbs")
    assert "_users" in await both.all_dbs()


async def test_node_down_everywhere(double: CouchDBDouble, couch: CouchDB) -> None:
    """Where no node has what it takes, the server's own error is raised."""
    double.inject(Status(500, "nodedown", "progress not possible"), path="/_all_dbs", times=100)
    with pytest.raises(NodeDown, match="progress not possible"):
        await couch.all_dbs(timeout=1)


async def test_settings() -> None:
    """Errors name the argument."""
    with pytest.raises(ConfigError, match="password"):
        CouchDB(username="admin")
    with pytest.raises(ConfigError, match="username"):
        CouchDB(password="x")
    with pytest.raises(ConfigError, match="auth"):
        CouchDB(auth="digest")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="token"):
        CouchDB(auth="jwt")
    with pytest.raises(ConfigError, match="secret"):
        CouchDB(username="a", password="b", secret="c")
    with pytest.raises(ConfigError, match="peers"):
        CouchDB("http://admin:secret@127.0.0.1:5984")
    assert repr(CouchDB("127.0.0.1")) == "<CouchDB at http://127.0.0.1:5984>"
    assert "secret" not in repr(CouchDB(username="admin", password="secret"))
