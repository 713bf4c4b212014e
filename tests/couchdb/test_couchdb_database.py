"""Databases: made, described, kept, and who may use them."""

from __future__ import annotations

import pytest
from doubles.couchdb import CouchDBDouble, Status

from aetcd.couchdb import (
    CouchDB,
    Database,
    DatabaseExists,
    DatabaseNotFound,
    Forbidden,
    Members,
    NodeDown,
    Security,
    Unauthorized,
)


async def test_create_and_destroy(couch: CouchDB) -> None:
    """There, and gone; twice is an error unless it is all right."""
    db = couch["a/b+c"]
    assert not await db.exists()
    assert await db.create(shards=2)
    assert await db.exists()
    with pytest.raises(DatabaseExists):
        await db.create()
    assert not await db.create(exist_ok=True)
    assert await db.destroy()
    with pytest.raises(DatabaseNotFound):
        await db.destroy()
    assert not await db.destroy(missing_ok=True)


async def test_slash_in_a_name_is_escaped(double: CouchDBDouble, couch: CouchDB) -> None:
    """As `%2f`, in the database's path and in that of its documents."""
    db = couch.database("a/b")
    await db.create()
    await db.put({}, id="c/d")
    await couch["other/_replicator"].create()
    paths = ["/a%2fb", "/a%2fb/c%2fd", "/other%2f_replicator"]
    assert [seen.path for seen in double.requests] == paths


async def test_options_of_create(double: CouchDBDouble, couch: CouchDB) -> None:
    """By the server's names."""
    await couch["part"].create(shards=3, copies=1, partitioned=True)
    assert double.requests[-1].params == {"q": "3", "n": "1", "partitioned": "true"}
    assert (await couch["part"].info()).partitioned


@pytest.mark.parametrize("name", ["Bad", "", "1a", "a b", "ä", "_", "a?b"])
def test_names_that_cannot_be(name: str) -> None:
    """Refused without a server."""
    with pytest.raises(ValueError, match="name"):
        CouchDB().database(name)


async def test_create_without_an_administrator(bob: CouchDB) -> None:
    """It is theirs."""
    with pytest.raises(Unauthorized):
        await bob["mine"].create()


async def test_database_of_others(db: Database, bob: CouchDB) -> None:
    """A database lets in whom its security object names."""
    with pytest.raises(Forbidden, match="not allowed to access"):
        await bob[db.name].info()
    await db.set_security(Security(members=Members(names=("bob",))))
    assert (await db.security()).members.names == ("bob",)
    assert (await bob[db.name].info()).name == db.name
    with pytest.raises(TypeError, match="security"):
        await db.set_security({})  # type: ignore[arg-type]


async def test_info_of_a_missing_one(couch: CouchDB) -> None:
    """404 of its own kind, with what was asked."""
    with pytest.raises(DatabaseNotFound) as caught:
        await couch["nope"].info()
    assert caught.value.operation == "database info"


async def test_info_without_a_quorum(double: CouchDBDouble, couch: CouchDB, db: Database) -> None:
    """500 `nodedown` has its own kind."""
    double.inject(Status(500, "nodedown", "progress not possible"), path="/invoices", times=50)
    with pytest.raises(NodeDown):
        await db.info(timeout=1)


async def test_housekeeping(double: CouchDBDouble, db: Database) -> None:
    """What a database can be told to do, and how it is kept."""
    await db.compact()
    await db.view_cleanup()
    await db.ensure_full_commit()
    await db.sync_shards()
    assert await db.revisions_limit() == 1000
    await db.set_revisions_limit(50)
    assert await db.revisions_limit() == 50
    assert await db.shards() != {}
    span, nodes = await db.shard_of("a")
    assert "-" in span
    assert nodes == ("n0@127.0.0.1",)
    with pytest.raises(ValueError, match="limit"):
        await db.set_revisions_limit(0)
