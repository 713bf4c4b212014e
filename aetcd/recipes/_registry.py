"""A registry of service instances: who serves, and where, for as long as they live."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from attrs import frozen

from aetcd._trust import Flag
from aetcd.errors import AetcdError, ConfigError, CoordinationError, DecodeError
from aetcd.recipes._mirror import Mirror
from aetcd.recipes._picker import Picker, Policy, check_policy
from aetcd.recipes._store import Session, Store
from aetcd.recipes._waiting import Hold, Tie, token

__all__ = ["Instance", "Registration", "Registry"]

T = TypeVar("T")

logger = logging.getLogger("aetcd")


@frozen(kw_only=True)
class Instance(Generic[T]):
    """A service instance that is registered.

    id: Its name in the registry.
    address: Where it serves, as it was registered.
    metadata: What it says of itself, as the registry's `type=` asked for it; None where it says nothing.
    """

    id: str
    address: str
    metadata: T


@frozen(kw_only=True)
class _Stored(Generic[T]):
    """What is stored of an instance.

    mark: Tells two registrations of one id apart that say the same.
    """

    address: str
    metadata: T
    mark: str = ""


class Registration(Generic[T]):
    """One instance's entry, for a block: `async with registry.register(address, ...) as registration`.

    It stands while the block runs, and is deleted at its end; where the process dies, when its session ends. The block
    is not cancelled where the entry is lost: `lost` tells.
    """

    def __init__(self, hold: Hold, instance: Instance[T], mark: str, encode: Callable[[object], bytes]) -> None:
        self._hold = hold
        self._instance = instance
        self._mark = mark
        self._encode = encode
        self._opened = False

    def __repr__(self) -> str:
        return f"<Registration of {self.instance.address!r} as {self.instance.id!r}{'' if self.held else ', not held'}>"

    @property
    def instance(self) -> Instance[T]:
        """What it says."""
        return self._instance

    @property
    def held(self) -> bool:
        """Whether it stands and can be trusted to, by the clock now."""
        return self._hold.held

    @property
    def lost(self) -> Flag:
        """Set once it cannot: the session was lost, or somebody deleted the entry. It does not come back by itself."""
        return self._hold.lost

    async def open(self) -> None:
        """Register.

        Raises CoordinationError where another instance has the id, SessionLost, and what the pool raises; a failed or
        cancelled one leaves nothing.
        """
        if self._opened:
            raise CoordinationError(f"this registration of {self.instance.id!r} was opened before: make another one")
        self._opened = True
        try:
            if not await self._hold.take():
                raise CoordinationError(f"another instance is registered as {self.instance.id!r}")
        except BaseException:
            await self._hold.drop()
            raise

    async def aclose(self) -> None:
        """Delete the entry; also when the caller is being cancelled. Never raises."""
        await self._hold.drop()

    async def update(self, metadata: T) -> None:
        """Say something else. Raises SessionLost where it is not held, NotOwner, OutcomeUnknown."""
        instance = Instance(id=self._instance.id, address=self._instance.address, metadata=metadata)
        raw = self._encode(_Stored(address=instance.address, metadata=metadata, mark=self._mark))
        await self._hold.swap(raw)
        self._instance = instance

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Registry(Generic[T]):
    """The instances of a service, under a prefix.

        registry = client.registry("services/api", type=Load)
        async with registry.register("http://10.0.0.7:8080", metadata=Load(...)):
            ...                                       # the service
        async with registry.picker() as picker:       # its client
            with picker.pick() as instance:
                ...                                   # instance.address

    Each instance is one key, tied to the session of the process that registered it. An entry that does not read as the
    type is left out, with a warning in the log, and hides no other.
    """

    def __init__(
        self, store: Store, prefix: str, *, type: Any = None, ttl: int = 15, session: Session | None = None
    ) -> None:
        store.check_type(type)
        self.prefix = prefix.rstrip("/")
        self._type = cast(Any, _Stored)[Any if type is None else type]
        self._store = store
        self._ttl = ttl
        self._session = session

    def __repr__(self) -> str:
        return f"<Registry {self.prefix!r}>"

    def register(self, address: str, *, metadata: Any = None, id: str | None = None) -> Registration[T]:
        """An entry for a block. See `Registration`.

        address: Where the instance serves: any text, such as a URL.
        metadata: Anything that JSON can say.
        id: A name of its own, so that an instance that comes back is the same one; by default a new one.
        """
        for argument, text in (("address", address), ("id", "default" if id is None else id)):
            if not isinstance(text, str):
                raise TypeError(f"{argument} must be text, not {text!r}")
            if not text:
                raise ValueError(f"{argument} must not be empty")
        if id is not None and ("/" in id or id[0] in "_."):
            raise ValueError(f"id must not hold `/`, nor begin with `_`, which etcd v2 hides, or `.`: {id!r}")
        mark = token()
        instance: Instance[T] = Instance(id=id or mark, address=address, metadata=metadata)
        raw = self._store.encode(_Stored(address=address, metadata=metadata, mark=mark), "metadata")
        hold = Hold(self._store, f"{self.prefix}/{instance.id}", raw, Tie(self._store, self._session, self._ttl))
        return Registration(hold, instance, mark, lambda stored: self._store.encode(stored, "metadata"))

    async def instances(self) -> Sequence[Instance[T]]:
        """Those that are registered now, in order of their ids, by a linearizable read."""
        entries = (await self._store.queue(self.prefix)).entries
        return self._instances({entry.key: entry.raw for entry in entries})

    async def watch(self) -> AsyncGenerator[Sequence[Instance[T]], None]:
        """The instances now, and again after each change; the latest is promised, not each one in between.

        It goes on while no peer can be reached. Raises what ends a watch for good. Leave it early by `aclose()`
        (`contextlib.aclosing`), for until then its watch stands.
        """
        async with self._mirror() as mirror:
            differences = mirror.differences()
            while True:
                yield self._instances(mirror)
                await differences.batch()

    def picker(self, policy: Policy = "round_robin") -> Picker[T]:
        """Chooses among live instances: `async with registry.picker() as picker`. See `Picker`.

        policy: `round_robin`, `random`, or `least_pending`: the one that this process has the fewest blocks with.
        """
        check_policy(policy)
        return Picker(self._mirror(), self._instances, policy, self.prefix)

    @asynccontextmanager
    async def feed(self, use: Callable[[Sequence[str]], object]) -> AsyncIterator[None]:
        """For a block, have a function called with the addresses, now and after each change: a client's peers, say.

            async with registry.feed(other.use_peers):
                ...

        It is not called while nobody is registered. Addresses that it refuses with ConfigError are left, with a warning
        in the log.
        """
        if not callable(use):
            raise TypeError(f"use must be a function, not {use!r}")
        async with self._mirror() as mirror:
            differences = mirror.differences()
            self._tell(mirror, use)

            async def follow() -> None:
                while True:
                    try:
                        await differences.batch()
                    except AetcdError as e:
                        logger.warning("the addresses under %r are followed no longer: %s", self.prefix, e)
                        return
                    self._tell(mirror, use)

            job = self._store.spawn(follow, name=f"feed of {self.prefix!r}")
            try:
                yield
            finally:
                job.cancel()
                await job.wait()

    def _tell(self, mirror: Mirror[bytes], use: Callable[[Sequence[str]], object]) -> None:
        addresses = [instance.address for instance in self._instances(mirror)]
        if not addresses:
            return
        try:
            use(addresses)
        except ConfigError as e:
            logger.warning("the addresses under %r are not used: %s", self.prefix, e)

    def _mirror(self) -> Mirror[bytes]:
        return Mirror(self._store, self.prefix, type=bytes)

    def _instances(self, found: Mapping[str, bytes]) -> Sequence[Instance[T]]:
        under = self.prefix + "/"
        names = sorted((key, key.removeprefix(under)) for key in found if key.startswith(under))
        read = (self._instance(key, name, found[key]) for key, name in names if "/" not in name)
        return [instance for instance in read if instance is not None]

    def _instance(self, key: str, name: str, raw: bytes) -> Instance[T] | None:
        try:
            stored = self._store.decode(raw, self._type, key)
        except DecodeError as e:
            logger.warning("an instance is left out: %s", e)
            return None
        return Instance(id=name, address=stored.address, metadata=stored.metadata)
