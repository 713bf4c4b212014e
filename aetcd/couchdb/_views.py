"""Asking a database: all documents, views, selectors and the indexes behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from attrs import field, frozen

from aetcd._wire.message import Effect
from aetcd.couchdb._arguments import (
    check_count,
    check_either,
    check_flag,
    check_list,
    check_text,
    check_type,
    name_path,
)
from aetcd.couchdb._codec import decode, make, read, to_json
from aetcd.couchdb._documents import Document
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._paging import PAGE
from aetcd.couchdb._rowsets import UNSET, Found, Rows, Unset

__all__ = ["CreatedIndex", "Index", "Queries"]

T = TypeVar("T")


@frozen(kw_only=True)
class Index:
    """An index that `find` may use.

    design_document: Where it is defined; None of the one over ids, which is always there.
    fields: What it sorts by, as the server writes it.
    """

    name: str
    type: str
    design_document: str | None = None
    partitioned: bool = False
    fields: tuple[Any, ...] = ()
    definition: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class CreatedIndex:
    """created: False where there was such an index already."""

    id: str
    name: str
    created: bool


class Queries:
    """The questions to one database. See `Database`."""

    _link: Link
    name: str
    path: str

    def all_docs(
        self,
        *,
        keys: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        descending: bool = False,
        inclusive_end: bool = True,
        include_docs: bool = False,
        conflicts: bool = False,
        type: Any = None,
        limit: int | None = None,
        skip: int = 0,
        page: int = PAGE,
        timeout: Limit = None,
    ) -> Rows:
        """All documents in the order of their ids, design documents included, as an async iterator of rows.

        keys: These, in this order; one that is not there is a row with an error.
        start, end: First and last id wanted, whether they exist or not; with `descending` the greater one is `start`.
        include_docs: Brings each document along, as `row.document`, and as `type` where one is asked for.
        page: Rows of one request. timeout: Of each request.

        Iterating raises DatabaseNotFound, Unauthorized, Forbidden.
        """
        options = self._options(
            end=UNSET if end is None else check_text(end, "end"),
            descending=descending,
            inclusive_end=inclusive_end,
            include_docs=include_docs,
            conflicts=conflicts,
            type=type,
        )
        listed = None if keys is None else check_list(keys, "keys")
        if listed is not None and (start is not None or end is not None):
            raise ValueError("keys: with keys there is no start and no end")
        return Rows(
            self._link,
            "all docs",
            f"{self.path}/_all_docs",
            options,
            keys=listed,
            start=UNSET if start is None else check_text(start, "start"),
            start_id=None,
            unique=True,
            type=type,
            page=page,
            limit=limit,
            skip=skip,
            timeout=timeout,
        )

    def view(
        self,
        design: str,
        view: str,
        *,
        key: Any = UNSET,
        keys: Iterable[Any] | None = None,
        start: Any = UNSET,
        end: Any = UNSET,
        start_id: str | None = None,
        end_id: str | None = None,
        descending: bool = False,
        inclusive_end: bool = True,
        include_docs: bool = False,
        conflicts: bool = False,
        type: Any = None,
        reduce: bool | None = None,
        group: bool = False,
        group_level: int | None = None,
        partition: str | None = None,
        update: Literal["true", "false", "lazy"] | None = None,
        stable: bool = False,
        limit: int | None = None,
        skip: int = 0,
        page: int = PAGE,
        timeout: Limit = None,
    ) -> Rows:
        """A view's rows in the order of their keys, as an async iterator.

        design, view: Names of the design document, without `_design/`, and of the view in it.
        key, keys, start, end: Keys are any JSON; None is null.
        start_id, end_id: Among rows of the same key.
        reduce: False gives the rows behind a reduce function. group, group_level: One row for each key, or for each
            beginning of so many elements of it; without them a reduced view is one row.
        partition: Only of that one, in a partitioned database (since 3.0).
        update: `false` answers from what is indexed, `lazy` does and updates then; by default it is updated first,
            which may take long: `timeout` is of each request, and no other peer is asked meanwhile.

        Iterating raises NotFound where there is no such view (`missing_named_view`, `missing`) and what `all_docs`
        raises.
        """
        if key is not UNSET:
            if keys is not None or start is not UNSET or end is not UNSET:
                raise ValueError("key: with one key there are no keys, no start and no end")
            start = end = key
        listed = None if keys is None else list(keys)
        if listed is not None and (start is not UNSET or end is not UNSET):
            raise ValueError("keys: with keys there is no start and no end")
        if include_docs and (group or group_level is not None or reduce):
            raise ValueError("include_docs: a reduced row is of no document")
        options = self._options(
            end=end,
            descending=descending,
            inclusive_end=inclusive_end,
            include_docs=include_docs,
            conflicts=conflicts,
            type=type,
        )
        options |= {
            "end_key_doc_id": None if end_id is None else check_text(end_id, "end_id"),
            "reduce": None if reduce is None else check_flag(reduce, "reduce"),
            "group": check_flag(group, "group") or None,
            "group_level": None if group_level is None else check_count(group_level, "group_level"),
            "update": None if update is None else check_either("update", update, ("true", "false", "lazy")),
            "stable": check_flag(stable, "stable") or None,
        }
        prefix = () if partition is None else ("_partition", check_text(partition, "partition"))
        path = name_path(*prefix, "_design", check_text(design, "design"), "_view", check_text(view, "view"))
        return Rows(
            self._link,
            f"view {design}/{view}",
            self.path + path,
            options,
            keys=listed,
            start=start,
            start_id=None if start_id is None else check_text(start_id, "start_id"),
            unique=False,
            type=type,
            page=page,
            limit=limit,
            skip=skip,
            timeout=timeout,
        )

    @overload
    def find(
        self,
        selector: Mapping[str, Any],
        *,
        type: None = None,
        fields: Sequence[str] | None = None,
        sort: Sequence[Any] | None = None,
        use_index: str | Sequence[str] | None = None,
        conflicts: bool = False,
        execution_stats: bool = False,
        bookmark: str | None = None,
        limit: int | None = None,
        skip: int = 0,
        page: int = PAGE,
        timeout: Limit = None,
    ) -> Found[Document]: ...
    @overload
    def find(
        self,
        selector: Mapping[str, Any],
        *,
        type: type[T],
        fields: Sequence[str] | None = None,
        sort: Sequence[Any] | None = None,
        use_index: str | Sequence[str] | None = None,
        conflicts: bool = False,
        execution_stats: bool = False,
        bookmark: str | None = None,
        limit: int | None = None,
        skip: int = 0,
        page: int = PAGE,
        timeout: Limit = None,
    ) -> Found[T]: ...
    def find(
        self,
        selector: Mapping[str, Any],
        *,
        type: Any = None,
        fields: Sequence[str] | None = None,
        sort: Sequence[Any] | None = None,
        use_index: str | Sequence[str] | None = None,
        conflicts: bool = False,
        execution_stats: bool = False,
        bookmark: str | None = None,
        limit: int | None = None,
        skip: int = 0,
        page: int = PAGE,
        timeout: Limit = None,
    ) -> Found[Any]:
        """Documents that a selector fits, as an async iterator (`_find`; since 2.0).

        fields: Only these of each. sort: Fields, or `{"field": "desc"}`, which need an index.
        use_index: A design document, or that and the index's name in it.
        bookmark: Of an earlier query, which this one goes on with.
        page: Documents of one request; by itself the server would give 25. timeout: Of each request.

        Iterating raises BadRequest for a selector or a sort that cannot be (`invalid_operator`, `no_usable_index`),
        and DatabaseNotFound.
        """
        check_type(type)
        query = self._selection(selector, fields, sort, use_index)
        if check_flag(conflicts, "conflicts"):
            query["conflicts"] = True
        if check_flag(execution_stats, "execution_stats"):
            query["execution_stats"] = True
        if bookmark is not None:
            check_text(bookmark, "bookmark")
        return Found(
            self._link,
            self.path,
            query,
            type=type,
            bookmark=bookmark,
            page=page,
            limit=limit,
            skip=skip,
            timeout=timeout,
        )

    async def explain(
        self,
        selector: Mapping[str, Any],
        *,
        fields: Sequence[str] | None = None,
        sort: Sequence[Any] | None = None,
        use_index: str | Sequence[str] | None = None,
        timeout: Limit = None,
    ) -> dict[str, Any]:
        """How `find` would go about it, and with which index, as the server writes it."""
        query = self._selection(selector, fields, sort, use_index)
        request = make("explain", "POST", f"{self.path}/_explain", document=query, effect=Effect.READ)
        answer = await self._link.ask(request, timeout=timeout, needs="2.0")
        found: dict[str, Any] = decode(request, answer, dict[str, Any])
        return found

    # Indexes

    async def indexes(self, *, timeout: Limit = None) -> list[Index]:
        """All that `find` may use, the one over ids first."""
        request = make("indexes", "GET", f"{self.path}/_index")
        answer = await self._link.ask(request, timeout=timeout, needs="2.0")
        return [_index(raw) for raw in decode(request, answer, dict[str, Any])["indexes"]]

    async def create_index(
        self,
        fields: Sequence[Any],
        *,
        name: str | None = None,
        design_document: str | None = None,
        partial_filter: Mapping[str, Any] | None = None,
        partitioned: bool | None = None,
        timeout: Limit = None,
    ) -> CreatedIndex:
        """Make an index over fields, unless there is the same already. It is built at the next `find` that uses it.

        partial_filter: A selector: only what it fits is indexed.
        """
        if isinstance(fields, str) or not fields:
            raise ValueError(f"fields must be a list of fields, and not empty: {fields!r}")
        index: dict[str, object] = {"fields": list(fields)}
        if partial_filter is not None:
            index["partial_filter_selector"] = dict(partial_filter)
        body: dict[str, object] = {"index": index, "type": "json"}
        if name is not None:
            body["name"] = check_text(name, "name")
        if design_document is not None:
            body["ddoc"] = check_text(design_document, "design_document")
        if partitioned is not None:
            body["partitioned"] = check_flag(partitioned, "partitioned")
        # The same index twice is one.
        request = make("create index", "POST", f"{self.path}/_index", document=body, effect=Effect.REPEATABLE)
        answer = await self._link.ask(request, timeout=timeout, needs="2.0")
        raw = decode(request, answer, dict[str, Any])
        return CreatedIndex(id=raw["id"], name=raw["name"], created=raw.get("result") == "created")

    async def delete_index(self, design_document: str, name: str, *, timeout: Limit = None) -> None:
        """Take an index away. Raises NotFound where there is none of that name."""
        ddoc = check_text(design_document, "design_document").removeprefix("_design/")
        path = name_path("_index", ddoc, "json", check_text(name, "name"))
        await self._link.ask(make("delete index", "DELETE", self.path + path), timeout=timeout, needs="2.0")

    # Behind the calls

    def _options(
        self,
        *,
        end: Any,
        descending: bool,
        inclusive_end: bool,
        include_docs: bool,
        conflicts: bool,
        type: Any,
    ) -> dict[str, object]:
        check_type(type)
        if type is not None and not include_docs:
            raise ValueError("type: there is nothing to read as it without include_docs=True")
        return {
            "end_key": None if isinstance(end, Unset) else to_json(end, "end").decode(),
            "descending": check_flag(descending, "descending") or None,
            "inclusive_end": None if check_flag(inclusive_end, "inclusive_end") else False,
            "include_docs": check_flag(include_docs, "include_docs") or None,
            "conflicts": check_flag(conflicts, "conflicts") or None,
        }

    def _selection(
        self,
        selector: Mapping[str, Any],
        fields: Sequence[str] | None,
        sort: Sequence[Any] | None,
        use_index: str | Sequence[str] | None,
    ) -> dict[str, object]:
        if not isinstance(selector, Mapping):
            raise TypeError(f"selector must be a mapping, not {selector!r}")
        query: dict[str, object] = {"selector": dict(selector)}
        if fields is not None:
            query["fields"] = check_list(fields, "fields")
        if sort is not None:
            if isinstance(sort, str):
                raise TypeError("sort must be a list")
            query["sort"] = list(sort)
        if use_index is not None:
            query["use_index"] = use_index if isinstance(use_index, str) else check_list(use_index, "use_index")
        to_json(query, "selector")
        return query


def _index(raw: dict[str, Any]) -> Index:
    definition = raw.get("def") or {}
    return read(
        Index,
        {
            "name": raw["name"],
            "type": raw["type"],
            "design_document": raw.get("ddoc"),
            "partitioned": bool(raw.get("partitioned")),
            "fields": definition.get("fields") or (),
            "definition": definition,
        },
    )
