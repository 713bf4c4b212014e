"""What a refused write is raised as: the wish, and the document that stands."""

from __future__ import annotations

from typing import Any

from aetcd.couchdb._codec import etag_of, make
from aetcd.couchdb._documents import Document, read_document
from aetcd.couchdb._errors import Conflict, RequestRefused, facts_in
from aetcd.couchdb._link import Limit, Link
from aetcd.errors import DecodeError, TransportError

__all__ = ["with_both_sides"]


async def with_both_sides(
    link: Link, error: Conflict, path: str, *, id: str, revision: str | None, document: Any = None, timeout: Limit
) -> Conflict:
    """The refusal of a write, with the document at `path` as it stands now."""
    current: Document | None = None
    try:
        answer = await link.ask(make("get document", "GET", path), timeout=timeout)
        standing: Document = read_document(answer.body, None, id)
        standing.etag = etag_of(answer)
        current = standing
    except (RequestRefused, TransportError, DecodeError):
        pass
    facts = facts_in(error)
    return Conflict(error.reason, id=id, revision=revision, document=document, current=current, **facts)
