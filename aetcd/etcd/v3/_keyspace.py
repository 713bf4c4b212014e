"""The facade's key space on etcd v3."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
from attrs import Factory, define, field
from msgspec.structs import replace

from aetcd._transport.timeouts import Budget, Timeout
from aetcd.errors import (
    AetcdError,
    CompareFailed,
    DirectoryNotEmpty,
    KeyExists,
    KeyNotFound,
    LeaseNotFound,
    NotADirectory,
    OutcomeUnknown,
    Unsupported,
)
from aetcd.etcd._session import Session
from aetcd.etcd._values import Node, Result
from aetcd.etcd.v3 import V3
from aetcd.etcd.v3._coalesce import Coalescer
from aetcd.etcd.v3._codec import prefix_end
from aetcd.etcd.v3._directories import directory, flat, grow
from aetcd.etcd.v3._hub import Hub
from aetcd.etcd.v3._models import DeleteRangeResponse, KeyValue, PutResponse, RangeResponse
from aetcd.etcd.v3._ops import Delete, Get, Put
from aetcd.etcd.v3._session import V3Lease, lease_of
from aetcd.etcd.v3._txn import Compare, CreateRevision, ModRevision, TxnResult, Value, Version
from aetcd.etcd.v3._watch import RangeFeed

__all__ = ["V3KeySpace"]

T = TypeVar("T")

# Keys of other clients need not be text: they come through, and go back as they came.
_NOT_TEXT = "surrogateescape"


@define(eq=False)
class V3KeySpace:
    """Keys are text, written behind the namespace; what v2 calls a directory is a prefix that ends in `/`.

    hub: Where watches share their streams; None to have a request for each.
    coalescer: Where gets and sets of single keys share requests; by default each has its own.
    """

    v3: V3
    namespace: str
    hub: Hub | None = None
    coalescer: Coalescer = field(
        default=Factory(lambda self: Coalescer(self.v3, reads=False, writes=False), takes_self=True)
    )
    name: str = field(default="v3", init=False)

    # Reading

    async def value(self, key: str, *, consistent: bool, timeout: Timeout) -> bytes | None:
        """What a key holds, or None."""
        kv, _ = await self.coalescer.get(self.server_key(key), serializable=not consistent, timeout=timeout)
        return None if kv is None else kv.value

    async def get(self, key: str, *, consistent: bool, timeout: Timeout) -> Result | None:
        """One key, or None."""
        return await self.find(key, consistent=consistent, full=True, timeout=timeout)

    async def find(self, key: str, *, consistent: bool, full: bool, timeout: Timeout) -> Result | None:
        """The same: there are no directories. Its TTL is asked for where `full`."""
        budget = self._budget(timeout)
        kv, revision = await self.coalescer.get(self.server_key(key), serializable=not consistent, timeout=timeout)
        if kv is None:
            return None
        node = self.read(kv)
        if full and node.lease:
            node = replace(node, ttl=await self._ttl_of(node.lease, budget))
        return Result(action="get", node=node, revision=revision)

    async def ls(self, key: str, *, consistent: bool, timeout: Timeout) -> Result:
        """The keys right under it, and one directory for each prefix there."""
        answer, under = await self._read_under(key, consistent, timeout)
        return Result(action="get", node=flat(key, under), revision=answer.revision)

    async def tree(self, key: str, *, consistent: bool, timeout: Timeout) -> Result:
        """All keys under it, as a tree of directories."""
        answer, under = await self._read_under(key, consistent, timeout)
        return Result(action="get", node=grow(key, directory(key), under), revision=answer.revision)

    async def _read_under(self, key: str, consistent: bool, timeout: Timeout) -> tuple[TxnResult, list[Node]]:
        """What is under a key. Raises KeyNotFound, or NotADirectory where the key itself is all there is."""
        first, end = self._under(key)
        reads = [Get(first, range_end=end, serializable=not consistent)]
        if key.strip("/"):
            reads.append(Get(self.server_key(key), serializable=not consistent))
        answer = await self.v3.txn().then(*reads).commit(timeout=timeout)
        under = [self.read(kv) for kv in _ranges(answer)[0].kvs]
        if not under and len(reads) == 2:
            self._missing_directory("list", key, answer)
        return answer, under

    def _missing_directory(self, operation: str, key: str, answer: TxnResult) -> None:
        if _ranges(answer)[-1].kvs:
            raise self._error(
                NotADirectory, f"{key!r} is a key with a value, and nothing is under it", operation, answer
            )
        raise self._error(KeyNotFound, f"nothing is under {key!r}", operation, answer)

    # Writing

    async def set(
        self, key: str, raw: bytes, *, ttl: int | None, session: Session | None, full: bool, timeout: Timeout
    ) -> Result | None:
        """Put."""
        name = self.server_key(key)
        if ttl is None:
            lease = 0 if session is None else lease_of(session)
            answer = await self.coalescer.put(name, raw, lease=lease, prev_kv=full, timeout=timeout)
            return self._written("set", key, raw, lease, ttl, answer) if full else None

        async def write(lease: int, budget: Budget) -> Result:
            answer = await self.coalescer.put(name, raw, lease=lease, prev_kv=full, timeout=budget.left())
            return self._written("set", key, raw, lease, ttl, answer)

        return await self._with_lease(write, ttl, session, timeout)

    async def create(
        self, key: str, raw: bytes, *, ttl: int | None, session: Session | None, timeout: Timeout
    ) -> Result:
        """Put, if the key has no creation revision."""
        full = self.server_key(key)

        async def write(lease: int, budget: Budget) -> Result:
            txn = self.v3.txn().when(CreateRevision(full) == 0).then(Put(full, raw, lease=lease))
            answer = await txn.otherwise(Get(full)).commit(timeout=budget.left())
            if not answer.succeeded:
                raise self._error(KeyExists, f"{key!r} exists", "create", answer)
            return self._written("create", key, raw, lease, ttl, _put(answer))

        return await self._with_lease(write, ttl, session, timeout)

    async def update(self, key: str, raw: bytes, *, ttl: int | None, full: bool, timeout: Timeout) -> Result:
        """Put, if the key has a version."""
        condition = Version(self.server_key(key)) > 0
        return await self._swap("update", key, raw, condition, ttl, full, timeout)

    async def compare_and_swap(
        self,
        key: str,
        raw: bytes,
        *,
        previous_raw: bytes | None,
        previous_revision: int | None,
        ttl: int | None,
        full: bool,
        timeout: Timeout,
    ) -> Result:
        """Put, if value or revision are as expected."""
        condition = self._condition(key, previous_raw, previous_revision)
        return await self._swap("compareAndSwap", key, raw, condition, ttl, full, timeout)

    async def _swap(
        self, action: str, key: str, raw: bytes, condition: Compare, ttl: int | None, full: bool, timeout: Timeout
    ) -> Result:
        name = self.server_key(key)

        async def write(lease: int, budget: Budget) -> Result:
            txn = self.v3.txn().when(condition).then(Put(name, raw, lease=lease, prev_kv=full)).otherwise(Get(name))
            answer = await txn.commit(timeout=budget.left())
            self._require(answer, key, action)
            return self._written(action, key, raw, lease, ttl, _put(answer))

        return await self._with_lease(write, ttl, None, timeout)

    async def delete(self, key: str, *, recursive: bool, timeout: Timeout) -> Result:
        """Delete the key, and with `recursive` all under it."""
        name = self.server_key(key)
        deletions = [Delete(name, prev_kv=True)]
        if recursive:
            first, end = self._under(key)
            # The key and what is under it share no key, unless the key is written with its slash.
            deletions = [Delete(first, range_end=end, prev_kv=True)] + ([] if first == name else deletions)
        answer = await self.v3.txn().then(*deletions).commit(timeout=timeout)
        return self._deleted("delete", key, answer)

    async def compare_and_delete(
        self, key: str, *, previous_raw: bytes | None, previous_revision: int | None, timeout: Timeout
    ) -> Result:
        """Delete, if value or revision are as expected."""
        name = self.server_key(key)
        txn = self.v3.txn().when(self._condition(key, previous_raw, previous_revision)).then(Delete(name, prev_kv=True))
        answer = await txn.otherwise(Get(name)).commit(timeout=timeout)
        self._require(answer, key, "compareAndDelete")
        return self._deleted("compareAndDelete", key, answer)

    async def refresh(self, key: str, *, ttl: int | None, full: bool, timeout: Timeout) -> Result:
        """Put the key as it is under another lease, or under none."""

        async def write(lease: int, budget: Budget) -> Result:
            name, left = self.server_key(key), budget.left()
            try:
                answer = await self.v3.put(name, b"", lease=lease, ignore_value=True, prev_kv=full, timeout=left)
            except KeyNotFound as e:
                text = f"{key!r} does not exist"
                raise KeyNotFound(text, status=e.status, code=e.code, peer=e.peer, operation="v3 refresh") from e
            raw = answer.prev_kv.value if answer.prev_kv else None
            return self._written("update", key, raw, lease, ttl, answer)

        return await self._with_lease(write, ttl, None, timeout)

    async def mkdir(self, key: str, *, ttl: int | None, timeout: Timeout) -> Result:
        """There are no directories to make."""
        raise Unsupported("mkdir: etcd v3 has no directories; a key under `dir/` is all it takes for `dir` to be there")

    async def rmdir(self, key: str, *, recursive: bool, timeout: Timeout) -> Result:
        """Delete all keys under it."""
        first, end = self._under(key)
        if recursive:
            txn = self.v3.txn().then(
                Delete(first, range_end=end, prev_kv=True), Get(self.server_key(key), keys_only=True)
            )
            answer = await txn.commit(timeout=timeout)
            deleted = answer.results[0]
            assert isinstance(deleted, DeleteRangeResponse)
            if not deleted.deleted:
                self._missing_directory("rmdir", key, answer)
            nodes = tuple(map(self.read, deleted.prev_kvs))
            gone = Node(key=key, is_directory=True, modified_revision=answer.revision)
            return Result(action="delete", node=gone, previous=replace(gone, nodes=nodes), revision=answer.revision)
        reads = (Get(first, range_end=end, keys_only=True, limit=1), Get(self.server_key(key), keys_only=True))
        answer = await self.v3.txn().then(*reads).commit(timeout=timeout)
        if not _ranges(answer)[0].kvs:
            self._missing_directory("rmdir", key, answer)
        raise self._error(DirectoryNotEmpty, f"keys are under {key!r}: use recursive=True", "rmdir", answer)

    # Watching and sessions

    def feed(self, key: str, *, recursive: bool, type: Any) -> RangeFeed:
        """The changes of a key, or of it and all under it."""
        read = self.read if type is None else partial(self.read, type=type)
        if not recursive:
            return RangeFeed(key, self.v3.gateway, self.v3, self.server_key(key), None, read, self.hub)
        base = self._bytes(key)
        first, end = self._under(key)
        if not key or key.endswith("/"):
            return RangeFeed(f"{key}...", self.v3.gateway, self.v3, first, end, read, self.hub)

        # One range from the key to the end of what is under it: keys such as `key-x` in between are not wanted.
        def wanted(name: bytes) -> bool:
            return name.startswith(first) or name == base

        return RangeFeed(f"{key}/...", self.v3.gateway, self.v3, base, end, read, self.hub, wanted)

    def lease(self) -> V3Lease:
        """A lease, not granted yet."""
        return V3Lease(self.v3.lease)

    # Keys

    def server_key(self, key: str) -> bytes:
        """The key on the server, behind the namespace. Raises ValueError for an empty one."""
        if not key:
            raise ValueError("key must not be empty")
        return self._bytes(key)

    def _bytes(self, key: str) -> bytes:
        return (self.namespace + key).encode("utf-8", _NOT_TEXT)

    def _under(self, key: str) -> tuple[bytes, bytes]:
        """The range of what is under a key; the whole key space under the empty one."""
        first = self._bytes(directory(key))
        return first or b"\0", prefix_end(first)

    def read(self, kv: KeyValue, type: Any = None) -> Node:
        """A key as the caller knows it."""
        return Node(
            type=type,
            key=kv.key.decode("utf-8", _NOT_TEXT)[len(self.namespace) :],
            raw=kv.value,
            created_revision=kv.create_revision,
            modified_revision=kv.mod_revision,
            version=kv.version,
            lease=kv.lease or None,
        )

    # Answers

    def _condition(self, key: str, previous_raw: bytes | None, previous_revision: int | None) -> Compare:
        name = self.server_key(key)
        if previous_raw is not None:
            return Value(name) == previous_raw
        return ModRevision(name) == (previous_revision or 0)

    def _require(self, answer: TxnResult, key: str, action: str) -> None:
        """Raises where a transaction of one condition took its other branch, which reads the key."""
        if answer.succeeded:
            return
        kvs = _ranges(answer)[0].kvs
        if not kvs:
            raise self._error(KeyNotFound, f"{key!r} does not exist", action, answer)
        current = self.read(kvs[0])
        text = f"{key!r} is not as expected: it is at revision {current.modified_revision}"
        error = self._error(CompareFailed, text, action, answer)
        error.current = current
        raise error

    def _written(
        self, action: str, key: str, raw: bytes | None, lease: int, ttl: int | None, answer: PutResponse
    ) -> Result:
        previous = None if answer.prev_kv is None else self.read(answer.prev_kv)
        revision = answer.header.revision
        node = Node(
            key=key,
            raw=raw,
            created_revision=previous.created_revision if previous else revision,
            modified_revision=revision,
            version=(previous.version or 0) + 1 if previous else 1,
            ttl=ttl,
            lease=lease or None,
        )
        return Result(action=action, node=node, previous=previous, revision=revision)

    def _deleted(self, action: str, key: str, answer: TxnResult) -> Result:
        gone = [kv for result in answer.results if isinstance(result, DeleteRangeResponse) for kv in result.prev_kvs]
        if not gone:
            raise self._error(KeyNotFound, f"{key!r} does not exist", action, answer)
        nodes = [self.read(kv) for kv in gone]
        own = next((node for node in nodes if node.key == key), None)
        previous = own or Node(key=key, is_directory=True, nodes=tuple(nodes))
        node = Node(
            key=key,
            created_revision=previous.created_revision,
            modified_revision=answer.revision,
            is_directory=previous.is_directory,
        )
        return Result(action=action, node=node, previous=previous, revision=answer.revision)

    def _error(self, kind: Callable[..., T], text: str, operation: str, answer: TxnResult) -> T:
        # Told by a good answer, which has no code of its own.
        return kind(text, status=200, peer=answer.peer, operation=f"v3 {operation}")

    # Leases

    async def _with_lease(
        self,
        write: Callable[[int, Budget], Awaitable[Result]],
        ttl: int | None,
        session: Session | None,
        timeout: Timeout,
    ) -> Result:
        """Write under the session's lease, under a fresh one for `ttl`, or under none."""
        budget = self._budget(timeout)
        if session is not None:
            return await write(lease_of(session), budget)
        if ttl is None:
            return await write(0, budget)
        lease = await self.v3.lease.grant(ttl, timeout=budget.left())
        try:
            return await write(lease.id, budget)
        except OutcomeUnknown:
            raise  # the key may hang on the lease: both end by themselves
        except AetcdError:
            with anyio.move_on_after(2.0, shield=True):
                await self._revoke(lease.id)
            raise

    async def _revoke(self, lease: int) -> None:
        try:
            await self.v3.lease.revoke(lease)
        except AetcdError:
            return  # it ends by itself

    async def _ttl_of(self, lease: int, budget: Budget) -> int | None:
        try:
            return (await self.v3.lease.time_to_live(lease, timeout=budget.left())).ttl
        except LeaseNotFound:
            return 0  # it ended between the two reads

    def _budget(self, timeout: Timeout) -> Budget:
        return Budget(timeout, asyncio.get_running_loop().time)


def _ranges(answer: TxnResult) -> list[RangeResponse]:
    return [result for result in answer.results if isinstance(result, RangeResponse)]


def _put(answer: TxnResult) -> PutResponse:
    """The answer to a transaction's one put, with the transaction's own header, which the inner one has not whole."""
    (put,) = answer.results
    assert isinstance(put, PutResponse)
    return replace(put, header=answer.header)
