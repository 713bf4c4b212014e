"""Rows of views and of `_all_docs`, and documents that a selector found, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from attrs import field, frozen

from aetcd._wire.message import Effect, Request
from aetcd.couchdb._codec import decode, etag_of, make, to_json
from aetcd.couchdb._documents import read_document
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._paging import Paged

__all__ = ["UNSET", "Found", "Row", "Rows", "Unset"]

T = TypeVar("T")


class Unset:
    """Stands for an argument that was not given, where None is a value: null is a key like others."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


@frozen(kw_only=True)
class Row:
    """One row of a view, or of `_all_docs`.

    id: The document's; None of a row that a reduce function made, and of a key without a document.
    key, value: What the view's function emitted; of `_all_docs` the id, and `{"rev": ...}`.
    error: Of a key that was asked for and is not there: `not_found`.
    raw: The document's JSON, with `include_docs=True`; else None.
    """

    key: Any
    id: str | None = None
    value: Any = None
    error: str | None = None
    raw: bytes | None = field(default=None, repr=False)
    type: Any = field(default=None, eq=False, repr=False)

    @property
    def document(self) -> Any:
        """The document as the call's `type=` asked for it; None where it was deleted, or not asked for.

        Raises DecodeError, naming the document.
        """
        return None if self.raw is None or self.raw == b"null" else read_document(self.raw, self.type, self.id)


class _Row(msgspec.Struct):
    id: str | None = None
    key: Any = None
    value: Any = None
    error: str | None = None
    doc: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct):
    rows: list[_Row]
    total_rows: int | None = None
    offset: int | None = None


class Rows(Paged[Row]):
    """Rows, in the order of their keys.

    total_rows: Of the whole view, as the last page told it; None before, and of reduced views.
    offset: Rows before the last page; None likewise.
    etag: Of the last page.

    The pages go on at the last row's key and id, so that rows which come or go elsewhere meanwhile are neither doubled
    nor left out.
    """

    def __init__(
        self,
        link: Link,
        operation: str,
        path: str,
        options: Mapping[str, object],
        *,
        keys: list[Any] | None,
        start: Any,
        start_id: str | None,
        unique: bool,
        type: Any,
        page: int,
        limit: int | None,
        skip: int,
        timeout: Limit,
    ) -> None:
        super().__init__(page=page, limit=limit, skip=skip)
        self._link, self._operation, self._path, self._options = link, operation, path, options
        self._keys = keys
        self._told_keys = 0
        self._start, self._start_id = start, start_id
        self._unique = unique
        self._repeated = 0
        self._type = type
        self._timeout = link.patient(timeout)
        self.total_rows: int | None = None
        self.offset: int | None = None
        self.etag: str | None = None

    async def _fetch(self, size: int) -> tuple[Sequence[Row], bool]:
        if self._keys is not None:
            return await self._fetch_keys(self._keys)
        query = {
            **self._options,
            "start_key": None if isinstance(self._start, Unset) else to_json(self._start, "start").decode(),
            "start_key_doc_id": self._start_id,
            "skip": self._skip + self._repeated or None,
            "limit": size,
        }
        rows = await self._ask(make(self._operation, "GET", self._path, query=query))
        if rows:
            self._go_on_behind(rows)
        return rows, len(rows) == size

    async def _fetch_keys(self, keys: Sequence[Any]) -> tuple[Sequence[Row], bool]:
        """Rows of the next keys: of each there may be several, or none."""
        end = self._told_keys + self._page
        document = {"keys": keys[self._told_keys : end]}
        request = make(self._operation, "POST", self._path, query=self._options, document=document, effect=Effect.READ)
        rows = await self._ask(request) if document["keys"] else ()
        self._told_keys = end
        left = rows[self._skip :]
        self._skip -= len(rows) - len(left)
        return left, end < len(keys)

    def _go_on_behind(self, rows: Sequence[Row]) -> None:
        last = rows[-1]
        same = 0
        for row in reversed(rows):
            if row.key != last.key or row.id != last.id:
                break
            same += 1
        # One document may have emitted a key several times: as many rows are behind us as were told.
        # (Of a page that holds nothing else, those of the pages before it too.)
        going_on = same == len(rows) and (last.key, last.id) == (self._start, self._start_id) and not self._unique
        behind = self._repeated if going_on else 0
        # Where keys are unique, an id beside the key tells nothing more.
        self._start, self._start_id = last.key, None if self._unique else last.id
        self._repeated, self._skip = same + behind, 0

    async def _ask(self, request: Request) -> Sequence[Row]:
        answer = await self._link.ask(request, timeout=self._timeout)
        found: _Answer = decode(request, answer, _Answer)
        self.total_rows, self.offset, self.etag = found.total_rows, found.offset, etag_of(answer)
        return [
            Row(
                id=row.id,
                key=row.key,
                value=row.value,
                error=row.error,
                raw=bytes(row.doc) or None,
                type=self._type,
            )
            for row in found.rows
        ]


class _FoundAnswer(msgspec.Struct):
    docs: list[msgspec.Raw]
    bookmark: str | None = None
    warning: str | None = None
    execution_stats: dict[str, Any] | None = None


class Found(Paged[T], Generic[T]):
    """Documents that a selector found.

    bookmark: Behind the last page: `find(..., bookmark=)` goes on there, in another process too. None before the first.
    warning: What the server thinks of the query: mostly that no index helps it, so that it reads the whole database.
    execution_stats: Of the last page, with `execution_stats=True`.
    """

    def __init__(
        self,
        link: Link,
        path: str,
        query: Mapping[str, object],
        *,
        type: Any,
        bookmark: str | None,
        page: int,
        limit: int | None,
        skip: int,
        timeout: Limit,
    ) -> None:
        super().__init__(page=page, limit=limit, skip=skip)
        self._link, self._path, self._query, self._type = link, path, query, type
        self._timeout = link.patient(timeout)
        self.bookmark = bookmark
        self.warning: str | None = None
        self.execution_stats: dict[str, Any] | None = None

    async def _fetch(self, size: int) -> tuple[Sequence[T], bool]:
        document = {**self._query, "limit": size}
        if self.bookmark is not None:
            document["bookmark"] = self.bookmark
        if self._skip:
            document["skip"] = self._skip
        request = make("find", "POST", f"{self._path}/_find", document=document, effect=Effect.READ)
        answer = await self._link.ask(request, timeout=self._timeout, needs="2.0")
        found: _FoundAnswer = decode(request, answer, _FoundAnswer)
        documents = [read_document(bytes(raw), self._type) for raw in found.docs]
        self.bookmark, self.warning, self.execution_stats = found.bookmark, found.warning, found.execution_stats
        self._skip = 0
        return documents, len(documents) == size
