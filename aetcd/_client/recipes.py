"""The client's calls that make recipes. They send nothing: what they make does.

The recipes are loaded when the first is made: a program that reads and watches keys has no need of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar, overload

from aetcd._client.arguments import check_directory, check_key, check_seconds
from aetcd._client.store import ClientStore
from aetcd.etcd._session import Session
from aetcd.etcd._values import encode_value

if TYPE_CHECKING:
    from aetcd.recipes import (
        Barrier,
        Counter,
        DoubleBarrier,
        Election,
        Lock,
        Mirror,
        Once,
        OnLost,
        PriorityQueue,
        Registry,
        RWLock,
        Semaphore,
        WorkQueue,
    )

__all__ = ["Recipes"]

T = TypeVar("T")


class Recipes(ABC):
    """Coordination among all clients of a cluster.

    On every call:

    name, key, prefix: As a key is written. What a recipe stores is under it.
    ttl: Whole seconds without renewal after which what a process holds is taken from it. Not used where a session is
        given, which has its own.
    timeout: Seconds to wait, 0 to try once; by default for ever.
    on_lost: `cancel` the block when what it relies on is lost, or `flag` it only.
    session: One that several recipes share: `async with client.session() as session`. By default each has its own,
        for as long as it needs it.
    type: What values are read as, as in `get`.
    """

    @abstractmethod
    def _store(self) -> ClientStore:
        """What recipes are built on."""

    def lock(self, name: str, *, ttl: int = 15, timeout: float | None = None, on_lost: OnLost = "cancel") -> Lock:
        """A fair lock with fencing tokens: `async with client.lock(name) as lock`. See `Lock`.

        LockTimeout is raised where it was not had in time.
        """
        check_key(name, "name")
        check_seconds(ttl)
        from aetcd.recipes import Lock

        return Lock(self._store(), name, ttl=ttl, timeout=timeout, on_lost=on_lost)

    def election(
        self,
        name: str,
        *,
        value: object = "",
        ttl: int = 15,
        timeout: float | None = None,
        on_lost: OnLost = "cancel",
    ) -> Election:
        """Leadership of a name: `async with client.election(name, value=...) as leadership`. See `Election`.

        value: What all who watch the election are told of this candidate when it leads.
        """
        check_key(name, "name")
        check_seconds(ttl)
        from aetcd.recipes import Election

        return Election(
            self._store(), name, value=value, ttl=ttl, timeout=timeout, on_lost=on_lost, encode=encode_value
        )

    def rwlock(self, name: str, *, ttl: int = 15, timeout: float | None = None, on_lost: OnLost = "cancel") -> RWLock:
        """A fair read-write lock: `async with client.rwlock(name).read()`, or `.write()`. See `RWLock`."""
        check_key(name, "name")
        check_seconds(ttl)
        from aetcd.recipes import RWLock

        return RWLock(self._store(), name, ttl=ttl, timeout=timeout, on_lost=on_lost)

    def semaphore(
        self, name: str, *, limit: int, ttl: int = 15, timeout: float | None = None, on_lost: OnLost = "cancel"
    ) -> Semaphore:
        """A fair semaphore: `async with client.semaphore(name, limit=3) as permit`. See `Semaphore`.

        limit: How many may hold it at a time; all must say the same.
        """
        check_key(name, "name")
        check_seconds(ttl)
        from aetcd.recipes import Semaphore

        return Semaphore(self._store(), name, limit=limit, ttl=ttl, timeout=timeout, on_lost=on_lost)

    def barrier(self, name: str, *, session: Session | None = None) -> Barrier:
        """Holds back all who wait, from `hold()` until `release()`. See `Barrier`.

        session: Releases it when it ends; by default it stays until it is released.
        """
        check_key(name, "name")
        check_session(session)
        from aetcd.recipes import Barrier

        return Barrier(self._store(), name, session=session)

    def double_barrier(
        self,
        name: str,
        *,
        count: int,
        ttl: int = 15,
        timeout: float | None = None,
        session: Session | None = None,
    ) -> DoubleBarrier:
        """Begin together and end together: `async with client.double_barrier(name, count=3)`. See `DoubleBarrier`.

        count: How many must have come before any goes in.
        """
        check_key(name, "name")
        check_seconds(ttl)
        check_session(session)
        from aetcd.recipes import DoubleBarrier

        return DoubleBarrier(self._store(), name, count=count, ttl=ttl, timeout=timeout, session=session)

    @overload
    def queue(self, name: str, *, type: type[T], ttl: int = 15, session: Session | None = None) -> WorkQueue[T]: ...
    @overload
    def queue(
        self, name: str, *, type: None = None, ttl: int = 15, session: Session | None = None
    ) -> WorkQueue[str]: ...
    @overload
    def queue(self, name: str, *, type: Any, ttl: int = 15, session: Session | None = None) -> WorkQueue[Any]: ...
    def queue(self, name: str, *, type: Any = None, ttl: int = 15, session: Session | None = None) -> WorkQueue[Any]:
        """Items in order of arrival, each done at least once. See `WorkQueue`."""
        check_key(name, "name")
        check_seconds(ttl)
        check_session(session)
        from aetcd.recipes import WorkQueue

        return WorkQueue(self._store(), name, type=type, ttl=ttl, session=session)

    @overload
    def priority_queue(
        self, name: str, *, type: type[T], ttl: int = 15, session: Session | None = None
    ) -> PriorityQueue[T]: ...
    @overload
    def priority_queue(
        self, name: str, *, type: None = None, ttl: int = 15, session: Session | None = None
    ) -> PriorityQueue[str]: ...
    @overload
    def priority_queue(
        self, name: str, *, type: Any, ttl: int = 15, session: Session | None = None
    ) -> PriorityQueue[Any]: ...
    def priority_queue(
        self, name: str, *, type: Any = None, ttl: int = 15, session: Session | None = None
    ) -> PriorityQueue[Any]:
        """The same, the smallest priority first: `put(value, priority=1)`. See `PriorityQueue`."""
        check_key(name, "name")
        check_seconds(ttl)
        check_session(session)
        from aetcd.recipes import PriorityQueue

        return PriorityQueue(self._store(), name, type=type, ttl=ttl, session=session)

    @overload
    def once(self, key: str, *, type: type[T], ttl: int = 15, session: Session | None = None) -> Once[T]: ...
    @overload
    def once(self, key: str, *, type: None = None, ttl: int = 15, session: Session | None = None) -> Once[str]: ...
    @overload
    def once(self, key: str, *, type: Any, ttl: int = 15, session: Session | None = None) -> Once[Any]: ...
    def once(self, key: str, *, type: Any = None, ttl: int = 15, session: Session | None = None) -> Once[Any]:
        """One process of the cluster does it, the others wait: `await client.once(key).run(function)`. See `Once`."""
        check_key(key, "key")
        check_seconds(ttl)
        check_session(session)
        from aetcd.recipes import Once

        return Once(self._store(), key, type=type, ttl=ttl, session=session)

    def counter(self, name: str) -> Counter:
        """A number that all add to: `await client.counter(name).add(1)`. See `Counter`."""
        check_key(name, "name")
        from aetcd.recipes import Counter

        return Counter(self._store(), name)

    @overload
    def registry(self, prefix: str, *, type: type[T], ttl: int = 15, session: Session | None = None) -> Registry[T]: ...
    @overload
    def registry(
        self, prefix: str, *, type: None = None, ttl: int = 15, session: Session | None = None
    ) -> Registry[Any]: ...
    @overload
    def registry(self, prefix: str, *, type: Any, ttl: int = 15, session: Session | None = None) -> Registry[Any]: ...
    def registry(
        self, prefix: str, *, type: Any = None, ttl: int = 15, session: Session | None = None
    ) -> Registry[Any]:
        """Service instances, for as long as they live. See `Registry`.

        type: What their metadata is read as; by default anything that JSON can say.
        """
        check_key(prefix, "prefix")
        check_seconds(ttl)
        check_session(session)
        from aetcd.recipes import Registry

        return Registry(self._store(), prefix, type=type, ttl=ttl, session=session)

    @overload
    def mirror(self, prefix: str, *, type: type[T]) -> Mirror[T]: ...
    @overload
    def mirror(self, prefix: str, *, type: None = None) -> Mirror[str]: ...
    @overload
    def mirror(self, prefix: str, *, type: Any) -> Mirror[Any]: ...
    def mirror(self, prefix: str, *, type: Any = None) -> Mirror[Any]:
        """All keys under a prefix as a live mapping: `async with client.mirror(prefix) as mirror`. See `Mirror`.

        prefix: As the key of a recursive watch: it and all under `prefix/`; the empty one is the root.
        """
        check_directory(prefix)
        from aetcd.recipes import Mirror

        return Mirror(self._store(), prefix, type=type)


def check_session(session: Session | None) -> None:
    """Raises TypeError, naming `session`."""
    if session is not None and not isinstance(session, Session):
        raise TypeError(f"session must be one of client.session(), not {session!r}")
