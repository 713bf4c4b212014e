"""One database: itself, its documents, what is asked of it, and its changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from attrs import asdict, field, frozen

from aetcd._wire.message import Effect, Request
from aetcd.couchdb._arguments import check_count, check_database, check_flag, check_id, check_text, id_path, name_path
from aetcd.couchdb._attachments import Attachments
from aetcd.couchdb._changes import Changes, changes_of
from aetcd.couchdb._codec import decode, make, read
from aetcd.couchdb._crud import Documents
from aetcd.couchdb._endpoints import Endpoint
from aetcd.couchdb._errors import DatabaseExists, DatabaseNotFound
from aetcd.couchdb._feeds import Feed
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._models import DatabaseInfo
from aetcd.couchdb._rows import Mode
from aetcd.couchdb._source import Since
from aetcd.couchdb._views import Queries

__all__ = ["Database", "Members", "Security"]


@frozen(kw_only=True)
class Members:
    """Users, and roles of users."""

    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@frozen(kw_only=True)
class Security:
    """Who may do what with a database.

    admins: May change design documents and this. members: May read and write; where there are none, everybody may.
    """

    admins: Members = field(factory=Members)
    members: Members = field(factory=Members)
    extra: dict[str, Any] = field(factory=dict)


class Database(Documents, Queries, Attachments):
    """One database of a server. `couch.database(name)` makes it; nothing is sent by that.

    name: Lower case, digits and `_$()+-/`, beginning with a letter, or one of the server's own (`_users`).

    Where nothing else is said, calls raise DatabaseNotFound, Unauthorized, Forbidden, and what every request raises:
    RequestTimeout, NoPeerAvailable, ClientClosed, and OutcomeUnknown for a write whose fate is open.
    """

    def __init__(self, link: Link, name: str, *, endpoint: Callable[[str], Endpoint]) -> None:
        self._link = link
        self.name = check_database(name)
        self.path = name_path(name)
        self._endpoint = endpoint

    def __repr__(self) -> str:
        return f"<Database {self.name}>"

    @property
    def endpoint(self) -> Endpoint:
        """Itself as a replication sees it: its URL at this client's first peer, with this client's credentials.

        The server that replicates must reach that URL. Where it does not, write an `Endpoint` with one that it reaches.
        """
        return self._endpoint(self.path)

    # Itself

    async def create(
        self,
        *,
        shards: int | None = None,
        copies: int | None = None,
        partitioned: bool = False,
        exist_ok: bool = False,
        timeout: Limit = None,
    ) -> bool:
        """Create it. True where it was created, also where fewer nodes than a quorum answered (202); False where it
        existed and that is all right.

        shards, copies: The reference's `q` and `n`; by default as the cluster is configured.
        partitioned: Each document's id begins with the name of its partition, and a colon (since 3.0).
        exist_ok: It may be there already.

        Raises DatabaseExists, and BadRequest for a name or for numbers that cannot be.
        """
        query = {
            "q": None if shards is None else check_count(shards, "shards", least=1),
            "n": None if copies is None else check_count(copies, "copies", least=1),
            "partitioned": check_flag(partitioned, "partitioned") or None,
        }
        try:
            await self._link.ask(make("create database", "PUT", self.path, query=query), timeout=timeout)
        except DatabaseExists:
            if not check_flag(exist_ok, "exist_ok"):
                raise
            return False
        return True

    async def destroy(self, *, missing_ok: bool = False, timeout: Limit = None) -> bool:
        """Delete the database with all that is in it. True where it was there; documents are deleted by `delete`.

        missing_ok: It may be gone already. Raises DatabaseNotFound else, and Unauthorized without an administrator.
        """
        try:
            await self._link.ask(make("delete database", "DELETE", self.path), timeout=timeout)
        except DatabaseNotFound:
            if not check_flag(missing_ok, "missing_ok"):
                raise
            return False
        return True

    async def exists(self, *, timeout: Limit = None) -> bool:
        """Whether there is such a database."""
        answer = await self._link.ask(make("database exists", "HEAD", self.path), timeout=timeout, allow=(404,))
        return answer.status == 200

    async def info(self, *, timeout: Limit = None) -> DatabaseInfo:
        """What it is like. Raises NodeDown where too few nodes hold copies of it that answer."""
        request = make("database info", "GET", self.path)
        return read(DatabaseInfo, await self._mapping(request, timeout))

    # Changes

    def changes(
        self,
        *,
        since: Since = None,
        feed: Mode = "continuous",
        filter: str | None = None,
        doc_ids: Iterable[str] | None = None,
        selector: Mapping[str, Any] | None = None,
        view: str | None = None,
        parameters: Mapping[str, str] | None = None,
        include_docs: bool = False,
        conflicts: bool = False,
        attachments: bool = False,
        style: Literal["main_only", "all_docs"] = "main_only",
        type: Any = None,
        heartbeat: float = 10.0,
        limit: int | None = None,
        patience: float = math.inf,
    ) -> Changes:
        """Changes of its documents, as an async iterator inside `async with`: none is lost. See `CouchDB.db_updates`
        for what is promised, and for `since`, `feed`, `heartbeat`, `limit` and `patience`.

            async with db.changes(since=stored, include_docs=True, type=Invoice) as changes:
                async for change in changes:
                    await handle(change.id, change.document)
                    stored = changes.seq

        filter: A filter function, as `design/name`, with `parameters` for it, or `_design`. doc_ids: Only these
            documents. selector: Only those that it fits, as in `find`. view: Only those for which the view
            `design/name` emits. One of the four.
        include_docs: Brings each document along, as `change.document`, and as `type` where one is asked for: with its
            `conflicts` and the contents of its `attachments`, if wanted.
        style: `all_docs` tells all revisions that stand beside each other, not the winner alone.

        Of several changes of a document since the cursor the latest is told. A row may be as large as a document: it is
        read whole, whatever its size.
        """
        source = changes_of(
            self.path,
            self.name,
            filter=filter,
            doc_ids=doc_ids,
            selector=selector,
            view=view,
            parameters=parameters,
            include_docs=include_docs,
            conflicts=conflicts,
            attachments=attachments,
            style=style,
            type=type,
        )
        return Feed(self._link, source, since=since, feed=feed, heartbeat=heartbeat, limit=limit, patience=patience)

    # Who may, and how it is kept

    async def security(self, *, timeout: Limit = None) -> Security:
        """Who may do what with it. Where nothing was set, 3.x lets administrators only."""
        raw = await self._mapping(make("security", "GET", f"{self.path}/_security"), timeout)
        return read(Security, raw)

    async def set_security(self, security: Security, *, timeout: Limit = None) -> None:
        """Put another in its place, whole. Raises Unauthorized where the user is no administrator of it."""
        if not isinstance(security, Security):
            raise TypeError(f"security must be a Security, not {security!r}")
        document = {
            **security.extra,
            "admins": asdict(security.admins),
            "members": asdict(security.members),
        }
        path = f"{self.path}/_security"
        request = make("set security", "PUT", path, document=document, effect=Effect.REPEATABLE)
        await self._link.ask(request, timeout=timeout)

    async def revisions_limit(self, *, timeout: Limit = None) -> int:
        """How many revisions of each document are remembered: 1,000 by default."""
        request = make("revisions limit", "GET", f"{self.path}/_revs_limit")
        return int(decode(request, await self._link.ask(request, timeout=timeout), int))

    async def set_revisions_limit(self, limit: int, *, timeout: Limit = None) -> None:
        """Remember so many. Fewer than replications are behind makes conflicts that are none."""
        document = check_count(limit, "limit", least=1)
        path = f"{self.path}/_revs_limit"
        request = make("set revisions limit", "PUT", path, document=document, effect=Effect.REPEATABLE)
        await self._link.ask(request, timeout=timeout)

    async def compact(self, design: str | None = None, *, timeout: Limit = None) -> None:
        """Begin to free what is dead in its files, or in those of one design document's views.

        It has not ended when this returns: `couch.active_tasks()` shows it, and `info().compact_running` where it is
        the database's own.
        """
        more = () if design is None else (check_text(design, "design").removeprefix("_design/"),)
        await self._begin("compact", name_path("_compact", *more), timeout)

    async def view_cleanup(self, *, timeout: Limit = None) -> None:
        """Begin to delete index files that no design document needs any more."""
        await self._begin("view cleanup", "/_view_cleanup", timeout)

    async def ensure_full_commit(self, *, timeout: Limit = None) -> None:
        """Ask for all to be on disk. CouchDB 3 writes at once, and only says yes."""
        await self._begin("ensure full commit", "/_ensure_full_commit", timeout)

    async def shards(self, *, timeout: Limit = None) -> dict[str, tuple[str, ...]]:
        """Which nodes, by their Erlang names, hold each range of it. Since 2.0."""
        request = make("shards", "GET", f"{self.path}/_shards")
        found = (await self._mapping(request, timeout, needs="2.0"))["shards"]
        return {covered: tuple(nodes) for covered, nodes in found.items()}

    async def shard_of(self, id: str, *, timeout: Limit = None) -> tuple[str, tuple[str, ...]]:
        """The range that a document belongs to, and the nodes that hold it. Since 2.0."""
        request = make("shard of", "GET", f"{self.path}/_shards{id_path(check_id(id))}")
        found = await self._mapping(request, timeout, needs="2.0")
        return found["range"], tuple(found["nodes"])

    async def sync_shards(self, *, timeout: Limit = None) -> None:
        """Begin to make all copies of its shards the same. Since 2.3."""
        await self._begin("sync shards", "/_sync_shards", timeout)

    # Behind the calls

    async def _begin(self, operation: str, path: str, timeout: Limit) -> None:
        request = make(operation, "POST", self.path + path, document={}, effect=Effect.REPEATABLE)
        await self._link.ask(request, timeout=timeout)

    async def _mapping(self, request: Request, timeout: Limit, needs: str = "") -> dict[str, Any]:
        answer = await self._link.ask(request, timeout=timeout, needs=needs)
        found: dict[str, Any] = decode(request, answer, dict[str, Any])
        return found
