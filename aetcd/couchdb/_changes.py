"""What happens to documents: the changes of one database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import field, frozen

from aetcd._wire.message import Effect, Request
from aetcd.couchdb._arguments import check_either, check_flag, check_list, check_text, check_type
from aetcd.couchdb._codec import make
from aetcd.couchdb._documents import read_document
from aetcd.couchdb._feeds import Feed
from aetcd.couchdb._rows import WireRow
from aetcd.couchdb._source import Query, Source
from aetcd.couchdb._updates import feed_options

__all__ = ["Changes", "DocumentChange", "changes_of"]


@frozen(kw_only=True)
class DocumentChange:
    """A document is at another revision than before.

    It tells the latest: of several changes since the cursor, the document comes once.

    id: The document's.
    revision: That which wins.
    revisions: With `style="all_docs"` all that stand beside each other, the winner first.
    deleted: The winner is a deletion.
    seq: The cursor behind this change. Opaque: changes do not come in the order of its number.
    raw: The document's JSON, with `include_docs=True`; else None.
    """

    id: str
    seq: str
    revisions: tuple[str, ...] = ()
    deleted: bool = False
    raw: bytes | None = field(default=None, repr=False)
    type: Any = field(default=None, eq=False, repr=False)

    @property
    def revision(self) -> str | None:
        """That which wins."""
        return self.revisions[0] if self.revisions else None

    @property
    def document(self) -> Any:
        """The document as the call's `type=` asked for it, with `include_docs=True`; else None.

        Raises DecodeError, naming the document: the feed goes on all the same.
        """
        return None if self.raw is None or self.raw == b"null" else read_document(self.raw, self.type, self.id)


Changes = Feed[DocumentChange]


def changes_of(
    path: str,
    name: str,
    *,
    filter: str | None,
    doc_ids: Iterable[str] | None,
    selector: Mapping[str, Any] | None,
    view: str | None,
    parameters: Mapping[str, str] | None,
    include_docs: bool,
    conflicts: bool,
    attachments: bool,
    style: Literal["main_only", "all_docs"],
    type: Any,
) -> Source[DocumentChange]:
    """The feed of one database, with its filter. Raises TypeError and ValueError, naming the argument."""
    choices = {"filter": filter, "doc_ids": doc_ids, "selector": selector, "view": view}
    chosen = [argument for argument, value in choices.items() if value is not None]
    if len(chosen) > 1:
        raise ValueError(
            f"{chosen[1]}: one of filter, doc_ids, selector and view is possible, and {chosen[0]} is given"
        )
    check_type(type)
    if type is not None and not include_docs:
        raise ValueError("type: there is nothing to read as it without include_docs=True")
    if selector is not None and not isinstance(selector, Mapping):
        raise TypeError(f"selector must be a mapping, not {selector!r}")
    for key, value in (parameters or {}).items():
        check_text(key, "parameters")
        check_text(value, f"parameters: {key}")
    options: dict[str, object] = {
        **(parameters or {}),
        "include_docs": check_flag(include_docs, "include_docs") or None,
        "conflicts": check_flag(conflicts, "conflicts") or None,
        "attachments": check_flag(attachments, "attachments") or None,
        "style": check_either("style", style, ("main_only", "all_docs")) if style != "main_only" else None,
    }
    document: dict[str, object] | None = None
    if filter is not None:
        options["filter"] = check_text(filter, "filter")
    elif doc_ids is not None:
        options["filter"], document = "_doc_ids", {"doc_ids": check_list(doc_ids, "doc_ids")}
    elif selector is not None:
        options["filter"], document = "_selector", {"selector": dict(selector)}
    elif view is not None:
        options["filter"], options["view"] = "_view", check_text(view, "view")

    def request(query: Query) -> Request:
        return make(
            f"changes of {name}",
            "GET" if document is None else "POST",
            f"{path}/_changes",
            query={**options, **feed_options(query)},
            document=document,
            effect=Effect.READ,
        )

    def read(row: WireRow, seq: str) -> DocumentChange:
        return DocumentChange(
            id=row.id or "",
            seq=seq,
            revisions=tuple(one.rev for one in row.changes),
            deleted=row.deleted,
            raw=bytes(row.doc) or None,
            type=type,
        )

    return Source(name=f"changes of {name}", request=request, read=read, eventsource=True)
