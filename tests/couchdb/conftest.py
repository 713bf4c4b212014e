"""What the tests of this room share: a double, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from doubles.couchdb import CouchDBDouble

from aetcd.couchdb import CouchDB, Database


@pytest.fixture
async def double() -> AsyncIterator[CouchDBDouble]:
    """One node, set up, with the user `bob` beside its administrator."""
    async with CouchDBDouble(admin=("admin", "secret"), users={"bob": ("builder", ["r1"])}) as double:
        yield double


@pytest.fixture
async def couch(double: CouchDBDouble) -> AsyncIterator[CouchDB]:
    """The administrator's client."""
    async with CouchDB(double.url, username="admin", password="secret", timeout=5) as couch:
        yield couch


@pytest.fixture
async def bob(double: CouchDBDouble) -> AsyncIterator[CouchDB]:
    """A client that is no administrator's."""
    async with CouchDB(double.url, username="bob", password="builder", timeout=5) as couch:
        yield couch


@pytest.fixture
async def db(double: CouchDBDouble, couch: CouchDB) -> Database:
    """An empty database."""
    double.create("invoices")
    return couch.database("invoices")


@pytest.fixture
async def pair() -> AsyncIterator[CouchDBDouble]:
    """A cluster of two nodes."""
    async with CouchDBDouble(nodes=2, admin=("admin", "secret")) as double:
        yield double


@pytest.fixture
async def both(pair: CouchDBDouble) -> AsyncIterator[CouchDB]:
    """A client of both nodes."""
    async with CouchDB(*pair.urls, username="admin", password="secret", timeout=5) as couch:
        yield couch


@pytest.fixture
async def sides(double: CouchDBDouble, couch: CouchDB) -> tuple[Database, Database]:
    """A database with five documents, and an empty one."""
    double.create("src")
    double.create("tgt")
    for number in range(5):
        double.write("src", {"_id": f"d{number}", "i": number})
    return couch["src"], couch["tgt"]
