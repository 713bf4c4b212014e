"""Coordination on etcd v2.

A contender's key is `<name>/<a name the client made>`, created with `prevExist=false` and kept by its session; the
smallest creation index owns.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any, NoReturn

from attrs import define, evolve

from aetcd._wire.message import Effect
from aetcd.errors import CompareFailed, KeyExists, KeyNotFound, NotADirectory, NotAFile, NotOwner, Unsupported
from aetcd.etcd._entries import Entry, Owned, Queue
from aetcd.etcd._session import Session
from aetcd.etcd.v2._codec import decode_keys, put_request
from aetcd.etcd.v2._keyspace import V2KeySpace
from aetcd.etcd.v2._models import KeysResponse, V2Node
from aetcd.etcd.v2._place import Place
from aetcd.etcd.v2._session import Held, lease_of

__all__ = ["V2Store"]


@define(eq=False)
class V2Store:
    """The store's own part of what recipes need; the client adds sessions, watches and background work."""

    space: V2KeySpace

    async def enter(self, queue: str, raw: bytes, session: Session) -> Entry:
        """Create, under a name that only this call has."""
        lease = lease_of(session)
        place = self.space.place(f"{queue}/{uuid.uuid4().hex}")
        answer = await lease.hold(place.path, lambda: self._create(place, raw, lease.ttl), entry=True)
        return _entry(place, answer.the_node)

    async def join(self, queue: str, raw: bytes, session: Session) -> tuple[Entry, Queue]:
        """The same, and then the queue."""
        entry = await self.enter(queue, raw, session)
        return entry, await self.queue(queue)

    async def claim(self, key: str, raw: bytes, session: Session | None = None) -> Entry:
        """Create, or read."""
        place = self.space.place(key)
        while True:
            lease = None if session is None else lease_of(session)
            create = partial(self._create, place, raw, None if lease is None else lease.ttl, same=raw)
            try:
                answer = await (create() if lease is None else lease.hold(place.path, create))
                return _entry(place, answer.the_node)
            except KeyExists:
                node = (await self.space.read(place)).node
                if node is not None and not node.dir:
                    return _entry(place, node)
                if node is not None:
                    raise NotAFile(f"{key!r} is a directory", status=200, operation="v2 create") from None

    async def _create(self, place: Place, raw: bytes, ttl: int | None, *, same: bytes | None = None) -> KeysResponse:
        """Create, or find what an earlier sending has created.

        Sent again it does no harm: whichever sending comes first creates the key and each other one is refused. What
        stands there is this call's own where the name is, or where it holds `same`; else KeyExists is raised.
        """
        request = evolve(
            put_request("v2 create", place.path, raw, ttl=ttl, previous_exist=False), effect=Effect.REPEATABLE
        )
        while True:
            try:
                return decode_keys(request, await self.space.channel.send(request))
            except KeyExists:
                reading = await self.space.read(place)
                node = reading.node
                if node is not None and same is not None and (node.dir or (node.value or "").encode() != same):
                    raise
                if node is not None:
                    return KeysResponse(action="create", node=node, index=reading.index)

    async def queue(self, queue: str) -> Queue:
        """The directory's keys, sorted by creation index."""
        place = self.space.place(queue)
        reading = await self.space.read(place)
        node = reading.node
        if node is None:
            if isinstance(reading.missing, NotADirectory):
                raise reading.missing
            return Queue(entries=[], revision=reading.index)
        if not node.dir:
            raise NotADirectory(f"{queue!r} is a key with a value", status=200, operation="v2 get")
        children = sorted((child for child in node.nodes if not child.dir), key=lambda child: child.created_index)
        return Queue(entries=[_entry(place, child) for child in children], revision=reading.index)

    async def swap(self, entry: Owned, raw: bytes, session: Session) -> Entry:
        """Write, if the key is still the one that was created; its index may be moved by renewals."""
        lease = lease_of(session)
        place = self.space.place(entry.key)
        held = lease.held(place.path, entry.created_revision) or await self._found(place, entry)
        while True:
            try:
                answer = await self.space.v2.compare_and_swap(
                    place.path, raw, previous_index=held.modified, ttl=lease.ttl
                )
            except (CompareFailed, KeyNotFound, NotAFile, NotADirectory):
                held.moved((await self._found(place, entry)).modified)
            else:
                held.moved(answer.the_node.modified_index)
                return _entry(place, answer.the_node)

    async def leave(self, entry: Owned, session: Session | None) -> bool:
        """Delete, if the key is still the one that was created. The session goes on."""
        place = self.space.place(entry.key)
        # A lease of its own, with nothing in it, knows how to delete a key by what it was.
        lease = self.space.lease() if session is None else lease_of(session)
        try:
            held = lease.held(place.path, entry.created_revision) or await self._found(place, entry)
        except NotOwner:
            return False
        return await lease.remove(held)

    async def hand_over(self, entry: Owned, session: Session, heir: Owned) -> tuple[bool, bool]:
        """Delete. What else stands, no answer tells by the way."""
        return await self.leave(entry, session), False

    async def stands(self, entry: Owned) -> bool:
        """Whether the key is still the one that was created."""
        try:
            await self._found(self.space.place(entry.key), entry)
        except NotOwner:
            return False
        return True

    async def guarded(self, entry: Owned, txn: Any) -> NoReturn:
        """There is nothing that compares one key and writes another."""
        raise Unsupported("guarded: etcd v2 cannot compare one key and write another; send the fencing token instead")

    async def _found(self, place: Place, entry: Owned) -> Held:
        """The entry as it is now, by a linearizable read. Raises NotOwner."""
        node = (await self.space.read(place)).node
        if node is None or node.dir or node.created_index != entry.created_revision:
            raise NotOwner(f"the entry {entry.key!r} is gone")
        return Held(place.path, node.created_index, node.modified_index, entry=True)


def _entry(place: Place, node: V2Node) -> Entry:
    shown = place.node(node)
    assert shown is not None
    return Entry(
        key=shown.key,
        raw=shown.raw or b"",
        created_revision=shown.created_revision,
        modified_revision=shown.modified_revision,
    )
