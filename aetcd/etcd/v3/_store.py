"""Coordination on etcd v3, laid out as by Go's `concurrency` package and `etcdctl lock` / `elect`.

A contender's key is `<name>/<lease ID in hexadecimal>`, tied to its lease; the oldest creation revision owns.
"""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from aetcd.errors import NotOwner
from aetcd.etcd._entries import Entry, Owned, Queue
from aetcd.etcd._session import Session
from aetcd.etcd.v3._keyspace import V3KeySpace
from aetcd.etcd.v3._models import KeyValue, RangeResponse
from aetcd.etcd.v3._ops import Delete, Get, Put
from aetcd.etcd.v3._session import lease_of
from aetcd.etcd.v3._txn import CreateRevision, TxnBuilder, TxnResult, commit

__all__ = ["V3Store"]


@define(eq=False)
class V3Store:
    """The store's own part of what recipes need; the client adds sessions, watches and background work."""

    space: V3KeySpace
    _entered: Counter[str] = field(factory=Counter, init=False)

    async def enter(self, queue: str, raw: bytes, session: Session) -> Entry:
        """Put if absent, under a name that only this session and this call have."""
        lease = lease_of(session)
        key = f"{queue}/{lease:x}"
        self._entered[key] += 1
        if self._entered[key] > 1:
            key += f"-{self._entered[key]}"
        name = self.space.server_key(key)
        txn = self.space.v3.txn().when(CreateRevision(name) == 0)
        answer = await self._repeat(txn.then(Put(name, raw, lease=lease)).otherwise(Get(name)))
        if answer.succeeded:
            return Entry(key=key, raw=raw, created_revision=answer.revision, modified_revision=answer.revision)
        (found,) = answer.results
        assert isinstance(found, RangeResponse)
        return self._entry(found.kvs[0])

    async def queue(self, queue: str) -> Queue:
        """A range, sorted by creation revision; not of queues whose names begin with this one's and a slash."""
        prefix = self.space.server_key(queue) + b"/"
        answer = await self.space.v3.range(prefix, prefix=True, sort_by="create_revision")
        return Queue(
            entries=[self._entry(kv) for kv in answer.kvs if b"/" not in kv.key[len(prefix) :]],
            revision=answer.header.revision,
        )

    async def swap(self, entry: Owned, raw: bytes, session: Session) -> Entry:
        """Put, if the key is still the one that was created."""
        name = self.space.server_key(entry.key)
        txn = self.space.v3.txn().when(CreateRevision(name) == entry.created_revision)
        answer = await txn.then(Put(name, raw, lease=lease_of(session))).commit()
        if not answer.succeeded:
            raise NotOwner(f"the entry {entry.key!r} is gone")
        return Entry(key=entry.key, raw=raw, created_revision=entry.created_revision, modified_revision=answer.revision)

    async def leave(self, entry: Owned, session: Session) -> bool:
        """Delete, if the key is still the one that was created. The lease stays the session's."""
        name = self.space.server_key(entry.key)
        txn = self.space.v3.txn().when(CreateRevision(name) == entry.created_revision).then(Delete(name))
        return (await self._repeat(txn)).succeeded

    async def _repeat(self, txn: TxnBuilder) -> TxnResult:
        """Send a transaction that compares with what no second sending finds again."""
        return await commit(self.space.v3.gateway, txn.build(), repeatable=True)

    def _entry(self, kv: KeyValue) -> Entry:
        node = self.space.read(kv)
        return Entry(key=node.key, raw=kv.value, created_revision=kv.create_revision, modified_revision=kv.mod_revision)
