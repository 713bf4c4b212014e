"""Views, all documents, selectors and indexes, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from doubles.couchdb import CouchDBDouble

from aetcd.couchdb import BadRequest, CouchDB, Database, DatabaseNotFound, NotFound
from aetcd.errors import DecodeError

BY_CITY = {
    "views": {
        "by_city": {"map": "function (doc) { emit(doc.city, doc.n); }"},
        "counted": {"map": "function (doc) { emit(doc.city, doc.n); }", "reduce": "_count"},
    }
}


class City(msgspec.Struct):
    city: str
    n: int


@pytest.fixture
async def people(double: CouchDBDouble, db: Database) -> Database:
    """Twenty documents in three cities."""
    for number in range(20):
        double.write(db.name, {"_id": f"p{number:02}", "city": ["ulm", "bonn", "kiel"][number % 3], "n": number})
    return db


@pytest.fixture
async def views(double: CouchDBDouble, people: Database) -> Database:
    double.write(people.name, {"_id": "_design/d", **BY_CITY})
    return people


@pytest.mark.parametrize("page", [1, 3, 7, 20, 1000])
async def test_all_docs_whatever_the_page(people: Database, page: int) -> None:
    """Every document once, in order."""
    rows = people.all_docs(page=page)
    assert [row.id async for row in rows] == [f"p{number:02}" for number in range(20)]
    assert rows.total_rows == 20


async def test_all_docs_bounds(people: Database) -> None:
    """From, to, so many, backwards."""
    ids = [row.id for row in await people.all_docs(start="p05", end="p08", page=2).all()]
    assert ids == ["p05", "p06", "p07", "p08"]
    assert [row.id for row in await people.all_docs(start="p05", end="p08", inclusive_end=False).all()] == ids[:-1]
    assert [row.id for row in await people.all_docs(descending=True, limit=3, page=2).all()] == ["p19", "p18", "p17"]
    assert [row.id for row in await people.all_docs(skip=18, page=1).all()] == ["p18", "p19"]
    assert await people.all_docs(limit=0).all() == []


async def test_all_docs_of_keys(double: CouchDBDouble, people: Database) -> None:
    """In the order of the keys, those that are missing with an error; many in several requests."""
    keys = ["p03", "none", "p01", "p02", "p00"]
    rows = await people.all_docs(keys=keys, page=2).all()
    assert [row.key for row in rows] == keys
    assert [row.error for row in rows] == [None, "not_found", None, None, None]
    assert [seen.json["keys"] for seen in double.requests] == [keys[:2], keys[2:4], keys[4:]]
    assert [row.key for row in await people.all_docs(keys=keys, limit=3, page=2).all()] == keys[:3]


async def test_all_docs_with_documents(people: Database) -> None:
    """As dicts, or as a type."""
    row = await anext(people.all_docs(include_docs=True))
    assert row.document["n"] == 0
    assert row.value["rev"] == row.document.revision
    typed = await anext(people.all_docs(include_docs=True, type=City))
    assert typed.document == City(city="ulm", n=0)
    plain = await anext(people.all_docs())
    assert plain.document is None


async def test_row_whose_document_does_not_fit(double: CouchDBDouble, db: Database) -> None:
    """Is told when it is looked at, and the others go on."""
    double.write(db.name, {"_id": "a", "city": 5, "n": 1})
    double.write(db.name, {"_id": "b", "city": "ulm", "n": 2})
    first, second = await db.all_docs(include_docs=True, type=City).all()
    with pytest.raises(DecodeError, match="'a'"):
        first.document
    assert second.document.n == 2


async def test_documents_that_come_meanwhile(double: CouchDBDouble, people: Database) -> None:
    """Pages go on at the last key: what is written before it moves nothing."""
    rows = people.all_docs(page=5)
    seen = [(await anext(rows)).id for _ in range(5)]
    double.write(people.name, {"_id": "a-new-one"})
    seen += [row.id async for row in rows]
    assert seen == [f"p{number:02}" for number in range(20)]


@pytest.mark.parametrize("page", [1, 2, 5, 7, 100])
async def test_view_whatever_the_page(views: Database, page: int) -> None:
    """Rows of equal keys over the borders of pages, none doubled and none left out."""
    rows = await views.view("d", "by_city", page=page).all()
    assert [row.key for row in rows] == ["bonn"] * 7 + ["kiel"] * 6 + ["ulm"] * 7
    assert sorted(row.value for row in rows) == list(range(20))
    assert len({row.id for row in rows}) == 20


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_view_that_emits_a_key_several_times(double: CouchDBDouble, db: Database, page: int) -> None:
    """Rows that differ in nothing but their value are told as often as they are there."""
    double.write(db.name, {"_id": "_design/d", "views": {"v": {"map": "function (doc) { emit(1, 1); emit(1, 2); }"}}})
    for name in ("a", "b", "c"):
        double.write(db.name, {"_id": name})
    rows = await db.view("d", "v", page=page).all()
    assert [(row.id, row.value) for row in rows] == [(name, value) for name in ("a", "b", "c") for value in (1, 2)]


async def test_view_keys(views: Database) -> None:
    """One key, several, a range."""
    assert len(await views.view("d", "by_city", key="ulm", page=2).all()) == 7
    found = await views.view("d", "by_city", keys=["kiel", "none", "bonn"]).all()
    assert [row.key for row in found] == ["kiel"] * 6 + ["bonn"] * 7
    assert len(await views.view("d", "by_city", start="c", end="l").all()) == 6
    assert len(await views.view("d", "by_city", key=None).all()) == 0


async def test_reduced_view(views: Database) -> None:
    """One row, or one for each key."""
    assert [row.value for row in await views.view("d", "counted").all()] == [20]
    grouped = await views.view("d", "counted", group=True, page=2).all()
    assert [(row.key, row.value) for row in grouped] == [("bonn", 7), ("kiel", 6), ("ulm", 7)]
    assert len(await views.view("d", "counted", reduce=False).all()) == 20


async def test_missing_view_and_database(views: Database, couch: CouchDB) -> None:
    """Told apart."""
    with pytest.raises(NotFound):
        await views.view("d", "nope").all()
    with pytest.raises(NotFound):
        await views.view("nope", "nope").all()
    with pytest.raises(DatabaseNotFound):
        await couch["nope"].all_docs().all()


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda db: db.all_docs(page=0), "page"),
        (lambda db: db.all_docs(limit=-1), "limit"),
        (lambda db: db.all_docs(skip=True), "skip"),
        (lambda db: db.all_docs(keys="abc"), "keys"),
        (lambda db: db.all_docs(keys=["a"], start="b"), "keys"),
        (lambda db: db.all_docs(type=City), "type"),
        (lambda db: db.view("", "v"), "design"),
        (lambda db: db.view("d", ""), "view"),
        (lambda db: db.view("d", "v", key=1, start=2), "key"),
        (lambda db: db.view("d", "v", end=object()), "end"),
        (lambda db: db.view("d", "v", group=True, include_docs=True), "include_docs"),
        (lambda db: db.view("d", "v", group_level=-1), "group_level"),
        (lambda db: db.find([]), "selector"),
        (lambda db: db.find({"a": object()}), "selector"),
        (lambda db: db.find({}, fields="a"), "fields"),
        (lambda db: db.find({}, sort="a"), "sort"),
        (lambda db: db.find({}, type=5), "type"),
        (lambda db: db.find({}, bookmark=""), "bookmark"),
    ],
)
async def test_query_arguments(
    double: CouchDBDouble, db: Database, make: Callable[[Database], Any], argument: str
) -> None:
    """Named, when the query is made, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        make(db)
    assert double.requests == []


@pytest.mark.parametrize("page", [1, 3, 7, 100])
async def test_find_whatever_the_page(people: Database, page: int) -> None:
    """By bookmarks."""
    found = people.find({"city": "ulm"}, page=page)
    assert [document["n"] async for document in found] == [0, 3, 6, 9, 12, 15, 18]
    assert found.bookmark
    assert found.warning is not None
    assert "index" in found.warning


async def test_find_goes_on_from_a_bookmark(people: Database) -> None:
    """In another query."""
    first = people.find({"city": "ulm"}, page=3, limit=3)
    assert len(await first.all()) == 3
    rest = people.find({"city": "ulm"}, bookmark=first.bookmark)
    assert [document["n"] for document in await rest.all()] == [9, 12, 15, 18]


async def test_find_settings(people: Database) -> None:
    """Types, fields, limits, statistics."""
    typed = await people.find({"n": {"$gte": 18}}, type=City).all()
    assert typed == [City(city="ulm", n=18), City(city="bonn", n=19)]
    assert await people.find({"n": 1}, fields=["n"]).all() == [{"n": 1}]
    found = people.find({"city": "ulm"}, limit=2, skip=1, execution_stats=True)
    assert [document["n"] for document in await found.all()] == [3, 6]
    assert found.execution_stats is not None
    assert found.execution_stats["results_returned"] == 2


async def test_find_errors(people: Database, couch: CouchDB) -> None:
    """What the server cannot do with a query."""
    with pytest.raises(BadRequest, match="Invalid operator") as caught:
        await people.find({"n": {"$zz": 0}}).all()
    assert caught.value.error == "invalid_operator"
    with pytest.raises(BadRequest, match="No index exists"):
        await people.find({"n": 1}, sort=["q"]).all()
    with pytest.raises(DatabaseNotFound):
        await couch["nope"].find({}).all()


async def test_indexes(people: Database) -> None:
    """Made once, listed, used, taken away."""
    made = await people.create_index(["n"], name="by-n")
    assert made.created
    assert not (await people.create_index(["n"], name="by-n")).created
    listed = await people.indexes()
    assert [index.name for index in listed] == ["_all_docs", "by-n"]
    assert listed[0].design_document is None
    assert listed[1].design_document == made.id
    assert [document["n"] for document in await people.find({"n": {"$gt": 17}}, sort=["n"]).all()] == [18, 19]
    assert (await people.explain({"n": 1}))["index"]["name"] == "by-n"
    await people.delete_index(made.id, "by-n")
    assert len(await people.indexes()) == 1
    with pytest.raises(NotFound):
        await people.delete_index(made.id, "by-n")
    with pytest.raises(ValueError, match="fields"):
        await people.create_index([])
