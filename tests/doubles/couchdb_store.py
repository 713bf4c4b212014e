"""What the double remembers: databases, documents with their revision trees, events of databases. No HTTP."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import re
import uuid
from collections.abc import Callable, Iterable, Iterator

from attrs import define, field
from doubles.couchdb_terms import Json, digest, generation, next_rev

ADMIN_ONLY: Json = {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}}
DATABASE_NAME = re.compile(r"[a-z][a-z0-9_$()+/-]*\Z")
SYSTEM_DATABASES = ("_users", "_replicator", "_global_changes", "_nodes", "_dbs")
MEMBERS = {"_id", "_rev", "_deleted", "_attachments", "_revisions", "_revs_info", "_conflicts", "_deleted_conflicts"}
MEMBERS |= {"_local_seq", "_replication_state", "_replication_state_time", "_replication_state_reason"}
MEMBERS |= {"_replication_id", "_replication_stats", "_replication_start_time"}


class Conflict(Exception):
    """The revision that was named is no leaf of the document."""


@define(kw_only=True)
class Attachment:
    content_type: str
    data: bytes
    revpos: int
    encoding: str | None = None

    @property
    def digest(self) -> bytes:
        return hashlib.md5(self.data).digest()


@define(kw_only=True)
class Revision:
    rev: str
    parent: str | None
    deleted: bool
    body: dict[str, Json]
    attachments: dict[str, Attachment]


@define
class Document:
    """A tree of revisions. Those known by name only (`new_edits=false` sends ancestors) are in `parents` alone."""

    id: str
    revisions: dict[str, Revision] = field(factory=dict)
    parents: dict[str, str | None] = field(factory=dict)

    def leaves(self) -> list[Revision]:
        """The ends of the branches, the winner first."""
        inner = set(self.parents.values())
        ends = [one for rev, one in self.revisions.items() if rev not in inner]
        return sorted(ends, key=lambda one: (not one.deleted, generation(one.rev), one.rev), reverse=True)

    @property
    def winner(self) -> Revision:
        return self.leaves()[0]

    def history(self, rev: str) -> list[str]:
        """`rev` and its ancestors, the newest first."""
        found: list[str] = []
        cursor: str | None = rev
        while cursor is not None:
            found.append(cursor)
            cursor = self.parents.get(cursor)
        return found

    def add(self, revision: Revision) -> None:
        self.revisions[revision.rev] = revision
        self.parents[revision.rev] = revision.parent
        if revision.parent is not None:
            self.parents.setdefault(revision.parent, None)


@define(kw_only=True)
class Database:
    name: str
    created: int
    changed: Callable[[str, str], None] = lambda name, kind: None
    q: int = 2
    n: int = 1
    partitioned: bool = False
    uuid: str = field(factory=lambda: uuid.uuid4().hex[:8])
    documents: dict[str, Document] = field(factory=dict)
    local: dict[str, dict[str, Json]] = field(factory=dict)
    sequence: int = 0
    order: dict[str, int] = field(factory=dict)
    security: Json = field(factory=lambda: copy.deepcopy(ADMIN_ONLY))
    revs_limit: int = 1000
    purged_infos_limit: int = 1000
    purges: int = 0
    gone: bool = False
    watchers: set[asyncio.Event] = field(factory=set, eq=False)
    splits: list[tuple[str, str]] = field(factory=list)
    """Node and hash range of each copy of a shard that was split in two."""

    def __iter__(self) -> Iterator[Document]:
        """The living documents, in the order of their ids."""
        return (doc for _, doc in sorted(self.documents.items()) if not doc.winner.deleted)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def deleted_count(self) -> int:
        return len(self.documents) - len(self)

    def write(
        self,
        doc_id: str,
        body: dict[str, Json],
        *,
        rev: str | None = None,
        deleted: bool = False,
        attachments: dict[str, Attachment] | None = None,
    ) -> str:
        """Compare and swap: `rev` must be a leaf (or none, for a document that is new or deleted)."""
        doc = self.documents.get(doc_id)
        parent = self.parent_of(doc, rev)
        kept = attachments or {}
        named = [(name, one.content_type, one.digest) for name, one in kept.items()]
        new = next_rev(parent, body, deleted=deleted, attachments=named)
        revision = Revision(rev=new, parent=parent, deleted=deleted, body=body, attachments=kept)
        self.keep(doc_id, revision)
        return new

    def parent_of(self, doc: Document | None, rev: str | None) -> str | None:
        if doc is None:
            if rev is not None:
                raise Conflict
            return None
        if rev is None:
            if not doc.winner.deleted:
                raise Conflict
            return doc.winner.rev
        if rev not in {leaf.rev for leaf in doc.leaves()}:
            raise Conflict
        return rev

    def graft(self, doc_id: str, revision: Revision, ancestors: list[str]) -> bool:
        """Keeps a revision as it is (`new_edits=false`): where it is unknown, it becomes a branch. False: known."""
        doc = self.documents.get(doc_id)
        if doc is not None and revision.rev in doc.revisions:
            return False
        self.keep(doc_id, revision)
        doc = self.documents[doc_id]
        for child, parent in zip([revision.rev, *ancestors], ancestors, strict=False):
            if doc.parents.get(child) is None:
                doc.parents[child] = parent
            doc.parents.setdefault(parent, None)
        return True

    def keep(self, doc_id: str, revision: Revision) -> None:
        self.documents.setdefault(doc_id, Document(doc_id)).add(revision)
        self.touch(doc_id)
        self.changed(self.name, "updated")

    def touch(self, doc_id: str) -> None:
        self.sequence += 1
        self.order.pop(doc_id, None)
        self.order[doc_id] = self.sequence
        self.wake()

    def wake(self) -> None:
        for event in self.watchers:
            event.set()

    def purge(self, doc_id: str, revs: Iterable[str]) -> list[str]:
        """Removes leaves for good, and the document with the last of them."""
        doc = self.documents.get(doc_id)
        found = [rev for rev in revs if doc is not None and rev in {leaf.rev for leaf in doc.leaves()}]
        if doc is None or not found:
            return []
        for rev in found:
            for ancestor in doc.history(rev):
                if ancestor not in doc.parents.values() or ancestor == rev:
                    doc.revisions.pop(ancestor, None)
                    doc.parents.pop(ancestor, None)
        if not doc.revisions:
            del self.documents[doc_id]
            self.order.pop(doc_id, None)
            self.sequence += 1
        else:
            self.touch(doc_id)
        self.purges += 1
        return found


@define
class State:
    """All nodes of a cluster share one."""

    now: Callable[[], float]
    databases: dict[str, Database] = field(factory=dict)
    on_event: Callable[[str, str], None] = lambda name, kind: None
    uuid: str = field(factory=lambda: uuid.uuid4().hex)
    prefix: str = field(factory=lambda: uuid.uuid4().hex[:26])
    drawn: int = 0

    def next_uuid(self, algorithm: str = "sequential") -> str:
        """`random`, or `sequential`: a prefix of 26 digits and a count of 6."""
        if algorithm == "random":
            return uuid.uuid4().hex
        self.drawn += 1 + int(digest(self.prefix, self.drawn)[:2], 16)
        return f"{self.prefix}{self.drawn:06x}"

    def create(self, name: str, *, q: int = 2, n: int = 1, partitioned: bool = False) -> Database:
        made = Database(name=name, created=int(self.now()), q=q, n=n, partitioned=partitioned, changed=self.event)
        self.databases[name] = made
        self.event(name, "created")
        self.event("_dbs", "updated")
        if name == "_users":
            made.write("_design/_auth", {"language": "javascript"})
        return made

    def destroy(self, name: str) -> None:
        gone = self.databases.pop(name)
        gone.gone = True
        gone.wake()
        self.event(name, "deleted")
        self.event("_dbs", "updated")

    def event(self, name: str, kind: str) -> None:
        # Its own changes would feed on themselves; the server leaves them out too.
        if name != "_global_changes":
            self.on_event(name, kind)

    def record(self, name: str, kind: str) -> None:
        """Puts an event into `_global_changes`, if there is one: a later event of the same kind takes its place."""
        feed = self.databases.get("_global_changes")
        if feed is not None:
            key = f"{kind}:{name}"
            rev = feed.documents[key].winner.rev if key in feed.documents else None
            feed.write(key, {}, rev=rev)


def halves(span: str) -> list[str]:
    """The two hash ranges that a split makes of one."""
    first, last = (int(end, 16) for end in span.split("-"))
    middle = (first + last) // 2
    return [f"{first:08x}-{middle:08x}", f"{middle + 1:08x}-{last:08x}"]


def split_ranges(q: int) -> list[str]:
    """The hash ranges of `q` shards."""
    step = 2**32 // q
    starts = [index * step for index in range(q)]
    ends = [start - 1 for start in starts[1:]] + [2**32 - 1]
    return [f"{start:08x}-{end:08x}" for start, end in zip(starts, ends, strict=True)]


def rev_record(doc: Document, rev: str) -> Json:
    """`_revisions`: the generation of `rev` and the hashes down to the root."""
    hashes = [one.split("-", 1)[1] for one in doc.history(rev)]
    return {"start": generation(rev), "ids": hashes}
