"""What the recipes are given: the store of the protocol that the client speaks, with sessions, watches and values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec
from attrs import define, field

from aetcd._transport.supervisor import Job
from aetcd.errors import NotAFile
from aetcd.etcd._entries import Entry, Owned, Queue
from aetcd.etcd._keyspace import Queues
from aetcd.etcd._session import Session
from aetcd.etcd._values import Change, Node, check_type, encode_value, read_value
from aetcd.etcd._watch import Watch

if TYPE_CHECKING:
    from aetcd._client.client import Client

__all__ = ["ClientStore", "Coordination", "KeyChange", "Written"]


class Written(Protocol):
    """What tells one writing of a key from the next."""

    @property
    def key(self) -> str:
        """Its key."""
        ...

    @property
    def modified_revision(self) -> int:
        """Revision of its last write."""
        ...


class Coordination(Queues, Protocol):
    """What a protocol has for the recipes beside its key space."""

    async def join(self, queue: str, raw: bytes, session: Session) -> tuple[Entry, Queue]:
        """`enter`, and the queue as it stood right after."""
        ...

    async def claim(self, key: str, raw: bytes, session: Session | None = None) -> Entry:
        """Create, or answer what stands there."""
        ...

    async def leave(self, entry: Owned, session: Session | None) -> bool:
        """False where the entry was gone. Without a session: a plain key."""
        ...

    async def hand_over(self, entry: Owned, session: Session, heir: Owned) -> tuple[bool, bool]:
        """`leave`, and whether another entry is seen to stand right after it."""
        ...

    async def stands(self, entry: Owned) -> bool:
        """Whether it is still there and the one that was created."""
        ...

    async def guarded(self, entry: Owned, txn: Any) -> Any:
        """Raises NotOwner, Unsupported."""
        ...


class KeyChange(msgspec.Struct, frozen=True):
    """One change, as recipes see it."""

    kind: str
    key: str
    raw: bytes | None
    revision: int
    created_revision: int


class _Changes:
    """The changes of a watch, without its markers."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def live(self) -> bool:
        return self._watch.status().state == "live"

    @property
    def interruption(self) -> object:
        return self._watch._intake.last_error  # noqa: SLF001

    @property
    def lag(self) -> int:
        return self._watch.status().lag

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KeyChange:
        while True:
            item = await anext(self._watch)
            if isinstance(item, Change):
                node = item.node
                return KeyChange(item.kind, node.key, node.raw, node.modified_revision, node.created_revision)


@define(eq=False)
class ClientStore:
    """Satisfies `aetcd.recipes.CoordinationStore`, on the protocol that the client speaks. One for each client."""

    client: Client
    shared: dict[object, Any] = field(factory=dict, init=False)

    async def begin(self, ttl: int) -> Session:
        session = self.client.session(ttl)
        await session.open()
        return session

    def spawn(self, function: Callable[[], Awaitable[object]], *, name: str) -> Job:
        return self.client._pool.spawn(function, name=name)  # noqa: SLF001

    def clock(self) -> float:
        return self.client._clock()  # noqa: SLF001

    # Queues

    async def enter(self, queue: str, raw: bytes, session: Session) -> Entry:
        return await (await self._queues()).enter(queue, raw, session)

    async def join(self, queue: str, raw: bytes, session: Session) -> tuple[Entry, Queue]:
        return await (await self._queues()).join(queue, raw, session)

    async def queue(self, queue: str) -> Queue:
        return await (await self._queues()).queue(queue)

    async def swap(self, entry: Owned, raw: bytes, session: Session) -> Entry:
        return await (await self._queues()).swap(entry, raw, session)

    async def leave(self, entry: Owned, session: Session | None) -> bool:
        return await (await self._queues()).leave(entry, session)

    async def hand_over(self, entry: Owned, session: Session, heir: Owned) -> tuple[bool, bool]:
        return await (await self._queues()).hand_over(entry, session, heir)

    async def stands(self, entry: Owned) -> bool:
        return await (await self._queues()).stands(entry)

    async def guarded(self, entry: Owned, txn: Any) -> Any:
        return await (await self._queues()).guarded(entry, txn)

    # Plain keys

    async def read(self, key: str) -> Entry | None:
        space, limit = await self.client._start(None)  # noqa: SLF001
        result = await space.find(key, consistent=True, full=False, timeout=limit)
        if result is not None and result.node.is_directory:
            raise NotAFile(f"{key!r} is a directory", status=200, operation="v2 get")
        return None if result is None else _entry(result.node)

    async def claim(self, key: str, raw: bytes, session: Session | None = None) -> Entry:
        return await (await self._queues()).claim(key, raw, session)

    async def replace(self, entry: Written, raw: bytes) -> Entry:
        space, limit = await self.client._start(None)  # noqa: SLF001
        revision = entry.modified_revision
        answer = await space.compare_and_swap(
            entry.key, raw, previous_raw=None, previous_revision=revision, ttl=None, full=True, timeout=limit
        )
        return _entry(answer.node)

    async def list(self, key: str) -> Queue:
        space, _ = await self.client._start(None)  # noqa: SLF001
        snapshot = await space.feed(key, recursive=True, type=None).snapshot()
        return Queue(entries=[_entry(node) for node in snapshot.nodes], revision=snapshot.revision)

    # Watching, values

    @asynccontextmanager
    async def changes(self, key: str, since: int | None, *, recursive: bool = False) -> AsyncIterator[_Changes]:
        async with self.client._watch(key, since=since, recursive=recursive) as watch:  # noqa: SLF001
            yield _Changes(watch)

    def encode(self, value: object, argument: str = "value") -> bytes:
        return encode_value(value, argument)

    def decode(self, raw: bytes, type: Any, key: str) -> Any:
        return read_value(raw, type, key)

    def check_type(self, type: Any) -> None:
        check_type(type)

    async def _queues(self) -> Coordination:
        return (await self.client._choose()).queues  # noqa: SLF001


def _entry(node: Node) -> Entry:
    return Entry(
        key=node.key,
        raw=node.raw or b"",
        created_revision=node.created_revision,
        modified_revision=node.modified_revision,
    )
