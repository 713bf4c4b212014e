"""The facade's key space on etcd v2."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from aetcd._transport.channel import Channel
from aetcd._transport.timeouts import Budget, Timeout
from aetcd.errors import CompareFailed, KeyNotFound, NotADirectory, NotAFile, ServerError
from aetcd.etcd._session import Session
from aetcd.etcd._values import Node, Result
from aetcd.etcd.v2 import V2
from aetcd.etcd.v2._codec import decode_keys, get_request, header_index, put_request
from aetcd.etcd.v2._models import KeysResponse, V2Node
from aetcd.etcd.v2._place import (
    Place,
    Reading,
    directory_of,
    done,
    error_in,
    found_node,
    need_file,
    place_at,
    result_of,
    shown,
)
from aetcd.etcd.v2._session import V2Lease, lease_of
from aetcd.etcd.v2._watch import PathFeed

__all__ = ["V2KeySpace"]


@define(eq=False)
class V2KeySpace:
    """Keys are paths below the namespace, which is put before them as it is.

    `message` and `/message` are one key, which comes back as the caller wrote it; a key that ends in `/` names a
    directory only.
    """

    v2: V2
    namespace: str
    name: str = field(default="v2", init=False)

    # Reading

    async def value(self, key: str, *, consistent: bool, timeout: Timeout) -> bytes | None:
        """What a key holds, or None."""
        place = self.place(key)
        request = get_request(place.path, quorum=consistent)
        response = await self.channel.send(request, timeout=timeout)
        node = found_node(place, request, response)
        if node is None:
            return None
        need_file(place, node, response)
        return None if node.value is None else node.value.encode()

    async def get(self, key: str, *, consistent: bool, timeout: Timeout) -> Result | None:
        """One key, or None."""
        place = self.place(key)
        request = get_request(place.path, quorum=consistent)
        response = await self.channel.send(request, timeout=timeout)
        node = found_node(place, request, response)
        if node is None:
            return None
        need_file(place, node, response)
        return Result(action="get", node=shown(place, node), revision=header_index(response))

    async def find(self, key: str, *, consistent: bool, full: bool, timeout: Timeout) -> Result | None:
        """One key or directory, or None."""
        place = self.place(key)
        request = get_request(place.path, quorum=consistent)
        response = await self.channel.send(request, timeout=timeout)
        node = found_node(place, request, response)
        if node is None:
            return None
        return Result(action="get", node=shown(place, node, deep=False), revision=header_index(response))

    async def ls(self, key: str, *, consistent: bool, timeout: Timeout) -> Result:
        """The directory with its children, in order of their names."""
        return await self._list("ls", key, consistent, timeout, deep=False)

    async def tree(self, key: str, *, consistent: bool, timeout: Timeout) -> Result:
        """The directory with all that is under it, in order of names."""
        return await self._list("tree", key, consistent, timeout, deep=True)

    async def _list(self, operation: str, key: str, consistent: bool, timeout: Timeout, *, deep: bool) -> Result:
        place = self.place(key)
        reading = await self.read(place, recursive=deep, sort=True, quorum=consistent, timeout=timeout)
        if reading.node is None and not key.strip("/"):
            # The root is always there, also that of a namespace in which nothing was written yet.
            empty = Node(key=key, is_directory=True, nodes=())
            return Result(action="get", node=empty, revision=reading.index)
        node = directory_of(operation, key, reading)
        return Result(action="get", node=shown(place, node, deep=deep), revision=reading.index)

    async def read(
        self,
        place: Place,
        *,
        recursive: bool = False,
        sort: bool = False,
        quorum: bool = True,
        timeout: Timeout | None = None,
    ) -> Reading:
        """What is there, and the index of the store at which it was so."""
        request = get_request(place.path, recursive=recursive, sort=sort, quorum=quorum)
        response = await self.channel.send(request, timeout=timeout)
        node, missing = None, None
        try:
            node = decode_keys(request, response).the_node
        except (KeyNotFound, NotADirectory) as e:
            # Under a key with a value there is nothing either.
            missing = place.told(e)
        return Reading(
            response=response,
            index=header_index(response),
            cluster_id=response.headers.get("X-Etcd-Cluster-Id", ""),
            node=node,
            missing=missing,
        )

    # Writing

    async def set(
        self, key: str, raw: bytes, *, ttl: int | None, session: Session | None, full: bool, timeout: Timeout
    ) -> Result | None:
        """Put."""
        place = self._file(key)
        if session is None:
            request = put_request("v2 set", place.path, raw, ttl=ttl)
            response = await self.channel.send(request, timeout=timeout)
            told = done(place, request, response)
            return result_of(place, told, header_index(response)) if full else None
        lease = lease_of(session)
        return await self._sent(
            place, lease.hold(place.path, lambda: self.v2.set(place.path, raw, ttl=lease.ttl, timeout=timeout))
        )

    async def create(
        self, key: str, raw: bytes, *, ttl: int | None, session: Session | None, timeout: Timeout
    ) -> Result:
        """Put, if nothing stands there."""
        place = self._file(key)
        if session is None:
            return await self._sent(place, self.v2.create(place.path, raw, ttl=ttl, timeout=timeout))
        lease = lease_of(session)
        return await self._sent(
            place, lease.hold(place.path, lambda: self.v2.create(place.path, raw, ttl=lease.ttl, timeout=timeout))
        )

    async def update(self, key: str, raw: bytes, *, ttl: int | None, full: bool, timeout: Timeout) -> Result:
        """Put, if the key stands there."""
        place = self._file(key)
        return await self._there(place, self.v2.update(place.path, raw, ttl=ttl, timeout=timeout))

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
        """Put, if value or index are as expected."""
        place = self._file(key)

        async def swap(value: bytes | None, index: int | None, limit: Timeout) -> KeysResponse:
            return await self.v2.compare_and_swap(
                place.path, raw, previous_value=value, previous_index=index, ttl=ttl, timeout=limit
            )

        if previous_raw == b"":
            return await self._if_empty(place, "compare and swap", swap, timeout)
        return await self._there(place, swap(previous_raw, previous_revision, timeout))

    async def delete(self, key: str, *, recursive: bool, timeout: Timeout) -> Result:
        """Delete the key, and with `recursive` also a directory with all that is under it."""
        if recursive and key.endswith("/"):
            return await self.rmdir(key, recursive=True, timeout=timeout)
        place = self._inner(key) if recursive else self._file(key)
        return await self._there(place, self.v2.delete(place.path, recursive=recursive, timeout=timeout))

    async def compare_and_delete(
        self, key: str, *, previous_raw: bytes | None, previous_revision: int | None, timeout: Timeout
    ) -> Result:
        """Delete, if value or index are as expected."""
        place = self._file(key)

        async def delete(value: bytes | None, index: int | None, limit: Timeout) -> KeysResponse:
            return await self.v2.compare_and_delete(
                place.path, previous_value=value, previous_index=index, timeout=limit
            )

        if previous_raw == b"":
            return await self._if_empty(place, "compare and delete", delete, timeout)
        return await self._there(place, delete(previous_raw, previous_revision, timeout))

    async def refresh(self, key: str, *, ttl: int | None, full: bool, timeout: Timeout) -> Result:
        """Give the key another expiry, without an event; or take its expiry away, which is a write."""
        place = self._file(key)
        if ttl is not None:
            return await self._there(place, self.v2.refresh(place.path, ttl, timeout=timeout))

        # A write without a TTL is all that takes an expiry away, and it must carry the value.
        async def persist(found: V2Node, reading: Reading, limit: Timeout) -> KeysResponse:
            if found.ttl is None:
                return KeysResponse(action="get", node=found, index=reading.index)
            return await self.v2.compare_and_swap(
                place.path, found.value or "", previous_index=found.modified_index, timeout=limit
            )

        return await self._by_index(place, "refresh", persist, timeout)

    async def mkdir(self, key: str, *, ttl: int | None, timeout: Timeout) -> Result:
        """Make a directory where nothing stands."""
        place = self._inner(key)
        return await self._sent(place, self.v2.mkdir(place.path, ttl=ttl, timeout=timeout))

    async def rmdir(self, key: str, *, recursive: bool, timeout: Timeout) -> Result:
        """Delete a directory."""
        place = self._inner(key)
        budget = self._budget(timeout)
        # `dir=true` and `recursive=true` delete a key with a value all the same (measured, 3.4 and 3.5), and no
        # comparison goes with a directory: the kind can only be looked at before.
        reading = await self.read(place, timeout=budget.left())
        directory_of("rmdir", key, reading)
        return await self._sent(place, self.v2.delete(place.path, dir=True, recursive=recursive, timeout=budget.left()))

    # Comparing with what v2 cannot compare with

    async def _if_empty(
        self,
        place: Place,
        operation: str,
        write: Callable[[bytes | None, int | None, Timeout], Awaitable[KeysResponse]],
        timeout: Timeout,
    ) -> Result:
        """Write if the value is the empty text, which a request cannot name: by the index at which it is so."""

        async def compare(found: V2Node, reading: Reading, limit: Timeout) -> KeysResponse:
            if found.value:
                error = error_in(CompareFailed, "it is not empty", operation, reading)
                error.current = place.node(found)
                raise error
            return await write(None, found.modified_index, limit)

        return await self._by_index(place, operation, compare, timeout)

    async def _by_index(
        self,
        place: Place,
        operation: str,
        write: Callable[[V2Node, Reading, Timeout], Awaitable[KeysResponse]],
        timeout: Timeout,
    ) -> Result:
        """Read, and write by the index that was read; again when somebody else was faster, until the time is over."""
        budget = self._budget(timeout)
        while True:
            reading = await self.read(place, timeout=budget.left())
            if reading.node is None:
                raise error_in(KeyNotFound, f"{place.key!r} does not exist", operation, reading) from reading.missing
            if reading.node.dir:
                raise error_in(NotAFile, f"{place.key!r} is a directory", operation, reading)
            try:
                return await self._there(place, write(reading.node, reading, budget.left()))
            except CompareFailed as e:
                if e.current is not None:
                    raise

    async def _there(self, place: Place, write: Awaitable[KeysResponse]) -> Result:
        """A write to what must be there: of a key under one with a value, a server says that this is no directory."""
        try:
            return await self._sent(place, write)
        except NotADirectory as e:
            raise KeyNotFound(e.message, status=e.status, code=e.code, peer=e.peer, operation=e.operation) from e

    async def _sent(self, place: Place, write: Awaitable[KeysResponse]) -> Result:
        try:
            answer = await write
        except ServerError as e:
            place.told(e)
            raise
        return result_of(place, answer, answer.index)

    # Watching and sessions

    def feed(self, key: str, *, recursive: bool, type: Any) -> PathFeed:
        """The changes of a key, or of it and all under it."""
        return PathFeed(key, self, self.place(key), recursive, type)

    def lease(self) -> V2Lease:
        """Keys refreshed together; none yet."""
        return V2Lease(self.v2, self.channel.pool.spawn)

    # Keys

    @property
    def channel(self) -> Channel:
        """What the native API sends by."""
        return self.v2.channel

    def place(self, key: str) -> Place:
        """Where a key is. Raises ValueError for one that would be somewhere else."""
        return place_at(self.namespace, key)

    def _inner(self, key: str) -> Place:
        """Where something to be written is. The root of a namespace belongs to what is around it."""
        if self.namespace and not key.strip("/"):
            raise ValueError(f"key: the root of a namespace cannot be written, as with {key!r}")
        return self.place(key)

    def _file(self, key: str) -> Place:
        if key.endswith("/") and key != "/":
            raise ValueError(f"key: on etcd v2 one that ends in `/` names a directory: {key!r}")
        return self._inner(key)

    def _budget(self, timeout: Timeout) -> Budget:
        return Budget(timeout, asyncio.get_running_loop().time)
