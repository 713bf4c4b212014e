"""Documents as a caller holds them, and as they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from attrs import field, frozen

from aetcd._wire.message import Request, Response
from aetcd.couchdb._arguments import check_id, check_revision
from aetcd.couchdb._codec import decode, etag_of
from aetcd.couchdb._models import OpenEnum
from aetcd.errors import DecodeError

__all__ = [
    "AttachmentInfo",
    "Document",
    "Revision",
    "RevisionStatus",
    "Saved",
    "Stored",
    "fields_of",
    "read_document",
    "read_stored",
    "saved_from",
]

T = TypeVar("T")


@frozen(kw_only=True)
class AttachmentInfo:
    """An attachment, without its content.

    length: Bytes; None where it came with its content.
    revpos: Number of the revision that it was attached with.
    """

    content_type: str
    length: int | None = None
    digest: str | None = None
    revpos: int = 0


class Document(dict[str, Any]):
    """A document's fields, those of the server included: `_id`, `_rev` and what else was asked for.

    etag: Of the answer that it came with; None of one that came in a list.
    """

    etag: str | None = None

    @property
    def id(self) -> str:
        """`_id`."""
        return str(self["_id"])

    @property
    def revision(self) -> str | None:
        """`_rev`; None of a document that was not stored yet."""
        found = self.get("_rev")
        return None if found is None else str(found)

    @property
    def deleted(self) -> bool:
        """Whether this revision is the document's deletion."""
        return bool(self.get("_deleted"))

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Other revisions that stand beside this one, where `conflicts=True` asked for them."""
        return tuple(self.get("_conflicts") or ())

    @property
    def attachments(self) -> dict[str, AttachmentInfo]:
        """By name."""
        stubs = self.get("_attachments") or {}
        return {name: msgspec.convert(stub, AttachmentInfo) for name, stub in stubs.items()}

    @property
    def value(self) -> dict[str, Any]:
        """Its own fields, without the server's."""
        return {name: value for name, value in self.items() if not name.startswith("_")}


@frozen(kw_only=True)
class Stored(Generic[T]):
    """A document as `type=` asked for it, with what the server says of it.

    etag: Of the answer.
    """

    id: str
    revision: str
    value: T
    etag: str | None = None
    conflicts: tuple[str, ...] = ()
    attachments: dict[str, AttachmentInfo] = field(factory=dict)


@frozen(kw_only=True)
class Saved:
    """A write was taken.

    revision: The document's new one; None where `batch=True` left the writing for later.
    quorum: False where fewer copies than a quorum were reached: it is kept (202), and the others get it later.
    etag: Of the answer.
    """

    id: str
    revision: str | None
    quorum: bool = True
    etag: str | None = None


class RevisionStatus(OpenEnum):
    """Whether a revision can still be read."""

    AVAILABLE = "available"
    DELETED = "deleted"
    MISSING = "missing"
    """Compacted away, or never replicated to here."""


@frozen(kw_only=True)
class Revision:
    """One revision in a document's history."""

    revision: str
    status: RevisionStatus


class _Written(msgspec.Struct):
    id: str
    rev: str | None = None


class _Head(
    msgspec.Struct, rename={"id": "_id", "rev": "_rev", "conflicts": "_conflicts", "attachments": "_attachments"}
):
    id: str = ""
    rev: str = ""
    conflicts: tuple[str, ...] = ()
    attachments: dict[str, AttachmentInfo] = {}


def fields_of(document: Any, id: str | None = None, revision: str | None = None) -> dict[str, Any]:
    """A document as the server wants it, from a mapping or from any class that msgspec can write.

    id, revision: Set `_id` and `_rev`, and may not contradict those that the document has. Empty ones (None) in it are
        left out.

    Raises TypeError and ValueError, naming the argument.
    """
    if isinstance(document, Mapping):
        fields = dict(document)
    else:
        try:
            fields = msgspec.to_builtins(document, str_keys=True)
        except (TypeError, ValueError, RecursionError) as e:
            raise TypeError(f"document of type {type(document).__name__} cannot be written as JSON: {e}") from e
        if not isinstance(fields, dict):
            raise TypeError(f"document must be an object, not {type(document).__name__}")
    for name, given, check in (("_id", id, check_id), ("_rev", revision, check_revision)):
        held = fields.get(name)
        argument = {"_id": "id", "_rev": "revision"}[name]
        if given is not None:
            check(given, argument)
            if held is not None and held != given:
                raise ValueError(f"{argument}: {given!r} contradicts the document's own {name}, {held!r}")
            fields[name] = given
        elif held is None:
            fields.pop(name, None)
        else:
            check(held, f"document: {name}")
    return fields


def read_document(body: bytes, kind: Any, id: str | None = None) -> Any:
    """One document: a `Document`, or what `kind` says.

    Raises DecodeError, with the document's id as its key.
    """
    try:
        if kind is None or kind is Document:
            return Document(msgspec.json.decode(body, type=dict[str, Any]))
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as e:
        wanted = getattr(kind, "__name__", "a document")
        raise DecodeError(f"the document {id!r} does not read as {wanted}: {e}", key=id) from e


def read_stored(body: bytes, kind: Any, etag: str | None) -> Stored[Any]:
    """One document with what the server says of it. Raises DecodeError."""
    head = msgspec.json.decode(body, type=_Head)
    value = read_document(body, kind, head.id)
    return Stored(
        id=head.id,
        revision=head.rev,
        value=value,
        etag=etag,
        conflicts=head.conflicts,
        attachments=head.attachments,
    )


def saved_from(request: Request, answer: Response) -> Saved:
    """What a write was answered."""
    written: _Written = decode(request, answer, _Written)
    # 202 with a revision: fewer copies than a quorum have it.
    quorum = answer.status != 202 or written.rev is None
    return Saved(id=written.id, revision=written.rev, quorum=quorum, etag=etag_of(answer))
