"""Databases and documents: compare-and-swap, conflicts, typed documents, many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from attrs import define
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble, Lost, Status

from aetcd.couchdb import (
    BadRequest,
    Conflict,
    CouchDB,
    Database,
    DatabaseNotFound,
    Document,
    DocumentNotFound,
    Forbidden,
    RevisionStatus,
    Stored,
    TooLarge,
)
from aetcd.errors import CompareFailed, DecodeError, KeyNotFound, OutcomeUnknown

UNKNOWN = "1-" + "0" * 32


class Invoice(msgspec.Struct):
    """A document of a user's, blind to the server's fields."""

    total: int
    paid: bool = False


class Versioned(msgspec.Struct, rename={"id": "_id", "rev": "_rev"}):
    """One that keeps id and revision itself."""

    total: int
    id: str | None = None
    rev: str | None = None


@define
class AttrsInvoice:
    total: int


@dataclass
class DataInvoice:
    total: int


# One document


async def test_put_and_get(db: Database) -> None:
    """What was written comes back, with its revision and the answer's ETag."""
    saved = await db.put({"total": 12}, id="2026/001")
    assert saved.revision is not None
    assert saved.quorum
    found = await db.get("2026/001")
    assert found.value == {"total": 12}
    assert (found.id, found.revision, found.etag) == ("2026/001", saved.revision, saved.revision)
    assert saved.etag == saved.revision


async def test_put_without_an_id(db: Database) -> None:
    """One is made here, so that it can be looked for where the outcome is unknown."""
    saved = await db.put({"total": 1})
    assert len(saved.id) == 32
    assert (await db.get(saved.id))["total"] == 1


async def test_changed_document_is_written_back(db: Database) -> None:
    """What `get` gave carries its revision."""
    await db.put({"total": 1}, id="a")
    document = await db.get("a")
    document["total"] = 2
    saved = await db.put(document)
    assert saved.revision is not None
    assert saved.revision.startswith("2-")


async def test_missing_documents(db: Database, couch: CouchDB) -> None:
    """Never there, there once, and in no database at all are three things."""
    with pytest.raises(DocumentNotFound) as caught:
        await db.get("none")
    assert not caught.value.deleted
    assert isinstance(caught.value, KeyNotFound)
    saved = await db.put({}, id="a")
    assert saved.revision is not None
    await db.delete("a", saved.revision)
    with pytest.raises(DocumentNotFound) as caught:
        await db.get("a")
    assert caught.value.deleted
    with pytest.raises(DatabaseNotFound):
        await couch["nope"].get("a")
    with pytest.raises(DatabaseNotFound):
        await couch["nope"].put({}, id="a")


async def test_put_conflict_carries_both(db: Database) -> None:
    """What was to be written, and what stands."""
    first = await db.put({"total": 1}, id="a")
    second = await db.put({"total": 2}, id="a", revision=first.revision)
    with pytest.raises(Conflict) as caught:
        await db.put({"total": 3}, id="a", revision=first.revision)
    conflict = caught.value
    assert (conflict.id, conflict.revision, conflict.current_revision) == ("a", first.revision, second.revision)
    assert conflict.document["total"] == 3
    assert conflict.current["total"] == 2
    assert isinstance(conflict, CompareFailed)
    with pytest.raises(Conflict) as caught:
        await db.put({}, id="a")
    assert caught.value.revision is None


async def test_delete_conflict(db: Database) -> None:
    """A deletion compares too."""
    first = await db.put({"total": 1}, id="a")
    second = await db.put({"total": 2}, id="a", revision=first.revision)
    assert first.revision is not None
    assert second.revision is not None
    with pytest.raises(Conflict) as caught:
        await db.delete("a", first.revision)
    assert caught.value.current_revision == second.revision
    assert caught.value.document is None
    gone = await db.delete("a", second.revision)
    assert gone.revision is not None
    with pytest.raises(DocumentNotFound):
        await db.delete("none", UNKNOWN)


async def test_conflict_where_nothing_stands_any_more(double: CouchDBDouble, db: Database) -> None:
    """What cannot be read is None."""
    double.inject(Status(409, "conflict", "Document update conflict."), path="/invoices/a", method="PUT")
    with pytest.raises(Conflict) as caught:
        await db.put({}, id="a")
    assert caught.value.current is None
    assert caught.value.current_revision is None


async def test_revision_of_a_document(db: Database, couch: CouchDB) -> None:
    """By HEAD; None where there is none."""
    assert await db.revision("a") is None
    saved = await db.put({}, id="a")
    assert await db.revision("a") == saved.revision
    with pytest.raises(DatabaseNotFound):
        await couch["nope"].revision("a")


async def test_old_revision(db: Database) -> None:
    """Readable until the database is compacted."""
    first = await db.put({"total": 1}, id="a")
    await db.put({"total": 2}, id="a", revision=first.revision)
    assert (await db.get("a", revision=first.revision))["total"] == 1
    history = await db.revisions("a")
    assert [one.status for one in history] == [RevisionStatus.AVAILABLE] * 2
    assert history[1].revision == first.revision


async def test_batch(db: Database) -> None:
    """Taken, and not yet written: no revision comes back."""
    saved = await db.put({}, id="a", batch=True)
    assert saved.revision is None


async def test_write_without_a_quorum(pair: CouchDBDouble) -> None:
    """202: it is kept, and said so."""
    async with CouchDB(pair.url, username="admin", password="secret") as couch:
        pair.create("c")
        pair.lost_nodes.add("n1@127.0.0.1")
        saved = await couch["c"].put({}, id="a")
        assert not saved.quorum
        assert saved.revision


async def test_design_and_local_documents(double: CouchDBDouble, db: Database) -> None:
    """Their slash is one of the path."""
    await db.put({"views": {}}, id="_design/d")
    await db.put({"n": 1}, id="_local/l")
    assert (await db.get("_design/d")).id == "_design/d"
    assert [seen.path for seen in double.requests[:2]] == ["/invoices/_design/d", "/invoices/_local/l"]


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda db: db.get(""), "id"),
        (lambda db: db.get("_x"), "id"),
        (lambda db: db.get("_design/"), "id"),
        (lambda db: db.get(5), "id"),
        (lambda db: db.get("a", revision="zzz"), "revision"),
        (lambda db: db.get("a", type=5), "type"),
        (lambda db: db.get("a", conflicts=1), "conflicts"),
        (lambda db: db.put([1]), "document"),
        (lambda db: db.put({"x": object()}, id="a"), "document"),
        (lambda db: db.put({"_id": "a"}, id="b"), "id"),
        (lambda db: db.put({"_rev": "1-a"}, id="b", revision="1-b"), "revision"),
        (lambda db: db.put({"_rev": "x"}, id="b"), "_rev"),
        (lambda db: db.delete("a", ""), "revision"),
        (lambda db: db.update("a", lambda doc: doc, attempts=0), "attempts"),
        (lambda db: db.bulk_docs([5]), "document"),
        (lambda db: db.bulk_get(["_x"]), "ids"),
    ],
)
async def test_arguments(
    double: CouchDBDouble, db: Database, call: Callable[[Database], Awaitable[object]], argument: str
) -> None:
    """Errors name the argument, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        await call(db)
    assert double.requests == []


async def test_what_the_server_refuses(double: CouchDBDouble, db: Database) -> None:
    """Fields of its own, too much, a validation function."""
    with pytest.raises(BadRequest, match="_foo") as caught:
        await db.put({"_foo": 1}, id="a")
    assert caught.value.error == "doc_validation"
    double.inject(Status(413, "document_too_large", "a"), path="/invoices/a")
    with pytest.raises(TooLarge):
        await db.put({}, id="a")
    double.inject(Status(403, "forbidden", "totals are positive"), path="/invoices/a")
    with pytest.raises(Forbidden, match="totals are positive"):
        await db.put({"total": -1}, id="a")


async def test_lost_answer_leaves_the_outcome_unknown(double: CouchDBDouble, db: Database) -> None:
    """A write is not sent twice: the caller looks."""
    double.inject(Lost(), path="/invoices/a", method="PUT")
    with pytest.raises(OutcomeUnknown):
        await db.put({"total": 1}, id="a")
    assert len([seen for seen in double.requests if seen.method == "PUT"]) == 1
    assert await db.revision("a") is not None


async def test_write_that_the_cluster_gave_up_on_is_open(double: CouchDBDouble, db: Database) -> None:
    """A server that stopped waiting for its nodes does not know either."""
    double.inject(Status(500, "timeout", "The request could not be processed"), path="/invoices/a")
    with pytest.raises(OutcomeUnknown):
        await db.put({}, id="a")


# Types


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Invoice, Invoice(total=12)), (AttrsInvoice, AttrsInvoice(12)), (DataInvoice, DataInvoice(12))],
)
async def test_typed_documents(db: Database, kind: Any, expected: object) -> None:
    """Structs, attrs classes and dataclasses, both ways."""
    await db.put(expected, id="a")
    assert await db.get("a", type=kind) == expected


async def test_type_with_id_and_revision(db: Database) -> None:
    """A class that has fields for them sees them, and needs no more to be written back."""
    saved = await db.put(Versioned(total=1, id="a"))
    found = await db.get("a", type=Versioned)
    assert (found.id, found.rev) == ("a", saved.revision)
    found.total = 2
    await db.put(found)
    assert (await db.get("a"))["total"] == 2


async def test_full(db: Database) -> None:
    """The value, beside what the server says of it."""
    saved = await db.put(Invoice(total=5), id="a")
    stored = await db.get("a", type=Invoice, full=True)
    assert stored == Stored(id="a", revision=saved.revision or "", value=Invoice(total=5), etag=saved.revision)
    plain = await db.get("a", full=True)
    assert isinstance(plain.value, Document)


async def test_document_that_does_not_fit(db: Database) -> None:
    """It names the document."""
    await db.put({"total": "much"}, id="a")
    with pytest.raises(DecodeError, match="'a'") as caught:
        await db.get("a", type=Invoice)
    assert caught.value.key == "a"


# Update


async def test_update_in_place_and_by_value(db: Database) -> None:
    """A function that changes what it gets, or gives another."""
    await db.put({"total": 1}, id="a")
    await db.update("a", lambda document: document.update(total=2))
    await db.update("a", lambda document: {**document, "total": document["total"] + 1})
    assert (await db.get("a"))["total"] == 3


async def test_update_retries_on_conflict(double: CouchDBDouble, db: Database) -> None:
    """It is read and changed anew."""
    await db.put({"total": 1}, id="a")
    seen = []

    def add(document: Document) -> None:
        seen.append(document["total"])
        if len(seen) == 1:
            double.write("invoices", {"_id": "a", "total": 10})
        document["total"] += 1

    await db.update("a", add)
    assert seen == [1, 10]
    assert (await db.get("a"))["total"] == 11


async def test_many_updates_at_once_lose_none(db: Database) -> None:
    """Twenty counters in one document."""
    await db.put({"total": 0}, id="a")

    async def add(document: Document) -> None:
        document["total"] += 1

    await asyncio.gather(*[db.update("a", add, attempts=100) for _ in range(20)])
    assert (await db.get("a"))["total"] == 20


async def test_update_gives_up(double: CouchDBDouble, db: Database) -> None:
    """After so many attempts the conflict is raised."""
    await db.put({"total": 1}, id="a")
    double.inject(Status(409, "conflict", "Document update conflict."), path="/invoices/a", method="PUT", times=99)
    with pytest.raises(Conflict):
        await db.update("a", lambda document: None, attempts=3)
    assert len([seen for seen in double.requests if seen.method == "PUT"]) == 4


async def test_update_of_a_missing_document(db: Database) -> None:
    """With a default it is made."""
    with pytest.raises(DocumentNotFound):
        await db.update("a", lambda document: None)
    await db.update("a", lambda document: {"total": document["total"] + 1}, default={"total": 0})
    assert (await db.get("a")).value == {"total": 1}


async def test_typed_update_keeps_what_the_type_does_not_know(db: Database) -> None:
    """Neither other fields nor attachments are lost."""
    saved = await db.put({"total": 1, "note": "keep"}, id="a")
    await db.put_attachment("a", "scan", b"...", revision=saved.revision)

    def pay(invoice: Invoice) -> None:
        invoice.paid = True

    await db.update("a", pay, type=Invoice)
    document = await db.get("a")
    assert document.value == {"total": 1, "note": "keep", "paid": True}
    assert set(document.attachments) == {"scan"}


async def test_error_of_the_function_ends_the_update(double: CouchDBDouble, db: Database) -> None:
    """Nothing is written then."""
    await db.put({"total": 1}, id="a")

    def fail(document: Document) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await db.update("a", fail)
    assert (await db.get("a"))["total"] == 1


# Many


async def test_bulk_docs(db: Database) -> None:
    """A result each, in their order."""
    await db.put({}, id="b")
    results = await db.bulk_docs([{"_id": "a"}, {"_id": "b"}, {"total": 1}, Invoice(total=2)])
    assert [result.ok for result in results] == [True, False, True, True]
    assert (results[1].id, results[1].error, results[1].reason) == ("b", "conflict", "Document update conflict.")
    assert results[0].revision is not None
    assert await db.bulk_docs([]) == []


async def test_bulk_docs_with_given_revisions(db: Database) -> None:
    """As replication writes: a second leaf is a conflict of the document, and none of the write."""
    await db.put({"v": 3}, id="a")
    results = await db.bulk_docs([{"_id": "a", "_rev": "1-aaaa", "v": 1}], new_edits=False)
    assert [(result.id, result.ok) for result in results] == [("a", True)]
    assert await db.conflicts("a") == ("1-aaaa",) or (await db.get("a")).revision == "1-aaaa"
    assert len(await db.open_revisions("a")) == 2
    assert (await db.get("a", conflicts=True)).conflicts != ()


async def test_bulk_get(db: Database) -> None:
    """Found ones and missing ones."""
    saved = await db.put({"v": 1}, id="a")
    assert saved.revision is not None
    found, missing, one = await db.bulk_get(["a", "none", ("a", saved.revision)])
    assert found.documents[0]["v"] == 1
    assert (missing.documents, missing.error) == ((), "not_found")
    assert one.documents[0].revision == saved.revision


async def test_missing_revisions_and_purge(db: Database) -> None:
    """What the database does not have; and what is taken from it without a trace."""
    saved = await db.put({"v": 1}, id="a")
    assert saved.revision is not None
    assert await db.missing_revisions({"a": [saved.revision, "5-x"]}) == {"a": ("5-x",)}
    assert (await db.purge({"a": [saved.revision]}))["a"] == (saved.revision,)
    with pytest.raises(DocumentNotFound) as caught:
        await db.get("a")
    assert not caught.value.deleted


async def test_conflict_of_a_proxy_without_a_body() -> None:
    """An answer that is not CouchDB's has no name for its error."""
    async with raw_server(lambda _: [whole(b"<html>teapot</html>", "418 I'm a teapot")]) as raw:
        async with CouchDB(raw.url) as couch:
            with pytest.raises(Exception, match="teapot") as caught:
                await couch["a"].get("b")
    assert caught.value.error is None  # type: ignore[attr-defined]
