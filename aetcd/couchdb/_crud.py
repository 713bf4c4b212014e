"""Documents: read, written by compare-and-swap on their revision, deleted."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar, overload

import msgspec
from attrs import frozen

from aetcd._routing.retry import full_jitter
from aetcd._wire.message import Effect, Request
from aetcd.couchdb._arguments import (
    check_count,
    check_flag,
    check_id,
    check_revision,
    check_type,
    id_path,
    name_path,
)
from aetcd.couchdb._codec import decode, etag_of, make
from aetcd.couchdb._conflicts import with_both_sides
from aetcd.couchdb._documents import (
    Document,
    Revision,
    Saved,
    Stored,
    fields_of,
    read_document,
    read_stored,
    saved_from,
)
from aetcd.couchdb._errors import Conflict, DatabaseNotFound, DocumentNotFound, NotFound, facts_in
from aetcd.couchdb._link import Limit, Link

__all__ = ["BulkFound", "BulkResult", "Documents"]

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0  # seconds between attempts of `update`


@frozen(kw_only=True)
class BulkResult:
    """What became of one document of many.

    revision: Its new one; None where it was refused.
    error, reason: Why it was: mostly `conflict`, or `forbidden` by a validation function.
    """

    id: str
    revision: str | None = None
    error: str | None = None
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """It was written."""
        return self.error is None


@frozen(kw_only=True)
class BulkFound:
    """What was found of one document of many.

    documents: Its leaf revisions, the winner first, or the one that was asked for.
    error, reason: Why there is none: `not_found`, `missing`.
    """

    id: str
    documents: tuple[Document, ...] = ()
    error: str | None = None
    reason: str | None = None


class Documents:
    """The documents of one database. See `Database`."""

    _link: Link
    name: str
    path: str

    @overload
    async def get(
        self,
        id: str,
        *,
        type: None = None,
        full: Literal[False] = False,
        revision: str | None = None,
        conflicts: bool = False,
        attachments: bool = False,
        timeout: Limit = None,
    ) -> Document: ...
    @overload
    async def get(
        self,
        id: str,
        *,
        type: type[T],
        full: Literal[False] = False,
        revision: str | None = None,
        conflicts: bool = False,
        attachments: bool = False,
        timeout: Limit = None,
    ) -> T: ...
    @overload
    async def get(
        self,
        id: str,
        *,
        type: type[T],
        full: Literal[True],
        revision: str | None = None,
        conflicts: bool = False,
        attachments: bool = False,
        timeout: Limit = None,
    ) -> Stored[T]: ...
    @overload
    async def get(
        self,
        id: str,
        *,
        type: None = None,
        full: Literal[True],
        revision: str | None = None,
        conflicts: bool = False,
        attachments: bool = False,
        timeout: Limit = None,
    ) -> Stored[Document]: ...
    async def get(
        self,
        id: str,
        *,
        type: Any = None,
        full: bool = False,
        revision: str | None = None,
        conflicts: bool = False,
        attachments: bool = False,
        timeout: Limit = None,
    ) -> Any:
        """One document.

        type: What it is read as: a msgspec Struct, an attrs class, a dataclass, a TypedDict. It sees `_id` and `_rev`
            where it has fields of these names. By default it is a `Document`, a dict.
        full: Gives a `Stored`, which holds the value beside its id, its revision and the answer's ETag.
        revision: That one, and not the winner. Old ones are there until the database is compacted.
        conflicts: Tells the other revisions that stand, as `document.conflicts`.
        attachments: Brings their contents along, as base64; `attachment()` reads one as a stream.

        Raises DocumentNotFound (its `deleted` tells whether there was one), DatabaseNotFound, Forbidden, Unauthorized,
        BadRequest for a revision that is none, and DecodeError where it does not read as `type`.
        """
        check_type(type)
        answer = await self._read(
            id,
            timeout,
            rev=None if revision is None else check_revision(revision),
            conflicts=check_flag(conflicts, "conflicts") or None,
            attachments=check_flag(attachments, "attachments") or None,
        )
        if check_flag(full, "full"):
            return read_stored(answer.body, type, etag_of(answer))
        found = read_document(answer.body, type, id)
        if isinstance(found, Document):
            found.etag = etag_of(answer)
        return found

    async def revision(self, id: str, *, timeout: Limit = None) -> str | None:
        """The revision that a document is at, by HEAD; None where there is no such document, or it was deleted.

        Raises DatabaseNotFound where there is no such database: the server answers both alike, so that this takes a
        second request then.
        """
        request = make("document revision", "HEAD", self._at(id))
        answer = await self._link.ask(request, timeout=timeout, allow=(404,))
        if answer.status == 404:
            await self._link.ask(make("database info", "GET", self.path), timeout=timeout)
            return None
        return etag_of(answer)

    async def put(
        self,
        document: Any,
        *,
        id: str | None = None,
        revision: str | None = None,
        batch: bool = False,
        timeout: Limit = None,
    ) -> Saved:
        """Write one document if it still is at the revision that the caller knows: compare-and-swap.

        document: A mapping, or anything that msgspec writes as an object. Its `_id` and `_rev` count as `id` and
            `revision` do. It takes the place of the old one whole: attachments that it does not name are gone, so
            change what `get` gave, or use `update`.
        id: Without one it is made here, so that the document can be looked for where the outcome is unknown.
        revision: That which it follows on. Without one the document must not exist, or be deleted.
        batch: The server keeps it in memory first (202), and no revision comes back. It may be lost with the server.

        Raises Conflict, with both sides, Forbidden by a validation function, DatabaseNotFound, TooLarge, BadRequest for
        fields of its own that begin with an underscore, and OutcomeUnknown where no answer tells: then compare
        `revision(id)`. A cancel leaves the outcome unknown too.
        """
        fields = fields_of(document, id, revision)
        name = fields.setdefault("_id", uuid.uuid4().hex)
        query = {"batch": "ok" if check_flag(batch, "batch") else None}
        request = make(
            "put document", "PUT", self._at(name), query=query, document=fields, secret=self._holds_passwords
        )
        return await self._write(request, name, fields.get("_rev"), fields, timeout)

    async def delete(self, id: str, revision: str, *, timeout: Limit = None) -> Saved:
        """Delete one document if it still is at this revision. A stub of it stays, which has a revision of its own.

        Raises Conflict, DocumentNotFound, DatabaseNotFound, Forbidden, OutcomeUnknown.
        """
        query = {"rev": check_revision(revision)}
        request = make("delete document", "DELETE", self._at(id), query=query)
        return await self._write(request, id, revision, None, timeout)

    async def update(
        self,
        id: str,
        function: Callable[[Any], Any | Awaitable[Any]],
        *,
        type: Any = None,
        default: Any = None,
        attempts: int = 16,
        timeout: Limit = None,
    ) -> Saved:
        """Read a document, let a function change it, write it; and again from the start on a conflict.

        function: Gets the document, as `type` where one is asked for, and gives what is to be written; None for what it
            was given, which it has changed. It may be async. It is called again after each conflict, so let it do
            nothing else. What it raises ends the update.
        type: As in `get`. Fields that the type does not know, and attachments, stay as they are.
        default: What the function gets where there is no such document.
        attempts: How often it is tried, with pauses in between; then Conflict is raised.
        timeout: Of each request.

        Raises DocumentNotFound without a default, and what `get` and `put` raise.
        """
        check_type(type)
        check_count(attempts, "attempts", least=1)
        for attempt in range(attempts):
            fields, value = await self._before(id, type, default, timeout)
            known = set(fields_of(value)) if fields else set()
            changed = function(value)
            if inspect.isawaitable(changed):
                changed = await changed
            new = fields_of(value if changed is None else changed)
            kept = {name: field for name, field in fields.items() if name not in known or name in {"_id", "_rev"}}
            merged = {**kept, **new} if type is not None else new
            merged.update({name: fields[name] for name in ("_id", "_rev") if name in fields})
            try:
                return await self.put(merged, id=id, timeout=timeout)
            except Conflict:
                if attempt == attempts - 1:
                    raise
            doublings = min(attempt, 10)
            await asyncio.sleep(full_jitter(self._link.rng, base=FIRST_PAUSE, cap=LONGEST_PAUSE, doublings=doublings))
        raise AssertionError("unreachable")

    async def bulk_docs(
        self, documents: Iterable[Any], *, new_edits: bool = True, timeout: Limit = None
    ) -> list[BulkResult]:
        """Write many documents at once, with a result each, in their order. All, some or none of them may be written.

        documents: As in `put`; to delete one, with its `_id`, its `_rev` and `_deleted: True`.
        new_edits: False writes them with the very revisions that they have, as replication does; what is there already
            is no conflict then, and their results have no error unless the server tells one.

        Raises BadRequest where the server refuses the whole for one (an id that begins with an underscore), and
        DatabaseNotFound, TooLarge, OutcomeUnknown: then any of them may have been written.
        """
        sent = [fields_of(document) for document in documents]
        if new_edits:
            for fields in sent:
                fields.setdefault("_id", uuid.uuid4().hex)
        body: dict[str, object] = {"docs": sent}
        if not check_flag(new_edits, "new_edits"):
            body["new_edits"] = False
        where = f"{self.path}/_bulk_docs"
        request = make("bulk docs", "POST", where, document=body, secret=self._holds_passwords)
        answer = await self._link.ask(request, timeout=timeout)
        rows: list[dict[str, Any]] = decode(request, answer, list[dict[str, Any]])
        results = [
            BulkResult(id=str(row["id"]), revision=row.get("rev"), error=row.get("error"), reason=row.get("reason"))
            for row in rows
        ]
        if new_edits:
            return results
        # Only those that were refused are told.
        refused = {result.id: result for result in results}
        kept = [BulkResult(id=fields.get("_id", ""), revision=fields.get("_rev")) for fields in sent]
        return [refused.get(result.id, result) for result in kept]

    async def bulk_get(self, ids: Iterable[str | tuple[str, str]], *, timeout: Limit = None) -> list[BulkFound]:
        """Read many documents at once: with their leaf revisions, or one revision of each as `(id, revision)`.

        Missing ones are among the results, with an error. Since 2.0.
        """
        wanted = [
            {"id": check_id(one, "ids")}
            if isinstance(one, str)
            else {"id": check_id(one[0], "ids"), "rev": check_revision(one[1], "ids")}
            for one in ids
        ]
        body = {"docs": wanted}
        request = make("bulk get", "POST", f"{self.path}/_bulk_get", document=body, effect=Effect.READ)
        answer = await self._link.ask(request, timeout=timeout, needs="2.0")
        return [_bulk_found(row) for row in decode(request, answer, dict[str, Any])["results"]]

    # Revisions

    async def revisions(self, id: str, *, timeout: Limit = None) -> list[Revision]:
        """A document's history, the newest first, and which of it can still be read."""
        answer = await self._read(id, timeout, revs_info=True)
        listed = read_document(answer.body, None, id).get("_revs_info", [])
        return [msgspec.convert({"revision": one["rev"], "status": one["status"]}, Revision) for one in listed]

    async def conflicts(self, id: str, *, timeout: Limit = None) -> tuple[str, ...]:
        """Revisions that stand beside the winner: both sides of a split wrote. Delete those that lost."""
        found: Document = await self.get(id, conflicts=True, timeout=timeout)
        return found.conflicts

    async def open_revisions(self, id: str, *, timeout: Limit = None) -> list[Document]:
        """All leaf revisions of a document, deletions included."""
        answer = await self._read(id, timeout, open_revs="all")
        rows = msgspec.json.decode(answer.body, type=list[dict[str, Any]])
        return [Document(row["ok"]) for row in rows if "ok" in row]

    async def missing_revisions(
        self, revisions: dict[str, Sequence[str]], *, timeout: Limit = None
    ) -> dict[str, tuple[str, ...]]:
        """Which of these revisions, by document, the database does not have: `_revs_diff`."""
        body = {check_id(name, "revisions"): list(listed) for name, listed in revisions.items()}
        request = make("revs diff", "POST", f"{self.path}/_revs_diff", document=body, effect=Effect.READ)
        answer = await self._link.ask(request, timeout=timeout)
        return {name: tuple(found["missing"]) for name, found in decode(request, answer, dict[str, Any]).items()}

    async def purge(self, revisions: dict[str, Sequence[str]], *, timeout: Limit = None) -> dict[str, tuple[str, ...]]:
        """Take leaf revisions away without a trace; gives those that were taken. It does not replicate."""
        body = {check_id(name, "revisions"): list(listed) for name, listed in revisions.items()}
        request = make("purge", "POST", f"{self.path}/_purge", document=body)
        answer = await self._link.ask(request, timeout=timeout)
        return {name: tuple(purged) for name, purged in decode(request, answer, dict[str, Any])["purged"].items()}

    # Behind the calls

    @property
    def _holds_passwords(self) -> bool:
        """Its documents do, those of users and of replications: they are not for logs."""
        return self.name == "_users" or self.name.endswith("_replicator")

    def _at(self, id: str, *more: str) -> str:
        return self.path + id_path(check_id(id)) + name_path(*more)

    async def _read(self, id: str, timeout: Limit, **query: object) -> Any:
        request = make("get document", "GET", self._at(id), query=query)
        try:
            return await self._link.ask(request, timeout=timeout)
        except NotFound as e:
            raise _document_not_found(e) from None

    async def _before(self, id: str, type: Any, default: Any, timeout: Limit) -> tuple[dict[str, Any], Any]:
        """A document's fields, and the value that `update` hands to its function."""
        try:
            answer = await self._read(id, timeout)
        except DocumentNotFound:
            if default is None:
                raise
            return {}, default
        return read_document(answer.body, None, id), read_document(answer.body, type, id)

    async def _write(self, request: Request, id: str, revision: str | None, document: Any, timeout: Limit) -> Saved:
        try:
            answer = await self._link.ask(request, timeout=timeout)
        except Conflict as e:
            where = self._at(id)
            raise await with_both_sides(
                self._link, e, where, id=id, revision=revision, document=document, timeout=timeout
            ) from None
        except NotFound as e:
            raise _document_not_found(e) from None
        return saved_from(request, answer)


def _document_not_found(error: NotFound) -> NotFound:
    return error if isinstance(error, DatabaseNotFound) else DocumentNotFound(error.reason, **facts_in(error))


def _bulk_found(row: dict[str, Any]) -> BulkFound:
    documents = tuple(Document(one["ok"]) for one in row["docs"] if "ok" in one)
    errors = [one["error"] for one in row["docs"] if "error" in one]
    first: dict[str, Any] = errors[0] if errors and not documents else {}
    return BulkFound(id=row["id"], documents=documents, error=first.get("error"), reason=first.get("reason"))
