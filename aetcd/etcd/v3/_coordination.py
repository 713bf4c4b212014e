"""The lock and the election that etcd's server itself plays, as its gateway offers them.

The entries are those of Go's `concurrency` package, so that these calls, `etcdctl lock`, and the recipes of this
package queue together.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Self

import msgspec
from attrs import define, evolve, field, frozen

from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import Effect
from aetcd.errors import KeyNotFound
from aetcd.etcd.v3._codec import Key, Route, Wire, bytes_of, whole
from aetcd.etcd.v3._gateway import Group
from aetcd.etcd.v3._models import NO_HEADER, Empty, Header, KeyValue
from aetcd.etcd.v3._streams import Envelope, Messages, open_stream

if TYPE_CHECKING:
    from aetcd.etcd.v3._gateway import Gateway
    from aetcd.etcd.v3._namespace import Namespace

__all__ = ["Elections", "LeaderKey", "LeaderResponse", "Leaders", "LockResponse", "Locks", "Won"]

# The server deletes a contender's entry when its caller goes away: a second one, sent while the first is still being
# noticed as gone, would be told that it owns what is then deleted.
LOCK = Route(operation="v3 lock", path="/lock/lock", effect=Effect.ONCE, needs="3.3")
UNLOCK = Route(operation="v3 unlock", path="/lock/unlock", effect=Effect.REPEATABLE, needs="3.3")
CAMPAIGN = Route(operation="v3 campaign", path="/election/campaign", effect=Effect.ONCE, needs="3.3")
PROCLAIM = Route(operation="v3 proclaim", path="/election/proclaim", effect=Effect.ONCE, needs="3.3")
LEADER = Route(operation="v3 leader", path="/election/leader", effect=Effect.READ, needs="3.3")
OBSERVE = Route(operation="v3 observe", path="/election/observe", effect=Effect.READ, needs="3.3")
RESIGN = Route(operation="v3 resign", path="/election/resign", effect=Effect.REPEATABLE, needs="3.3")


class LockResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that was had.

    key: The owner's entry: it unlocks, and for as long as it exists the lock is held.
    """

    header: Header = NO_HEADER
    key: bytes = b""


class LeaderKey(msgspec.Struct, frozen=True, kw_only=True):
    """A won office: what `proclaim` and `resign` need.

    key: The leader's entry. For as long as it exists with `rev` as its creation revision, the office is held.
    rev: Its creation revision, which grows from leader to leader: a fencing token.
    lease: ID of the lease that it ends with.
    """

    name: bytes = b""
    key: bytes = b""
    rev: int = 0
    lease: int = 0


class Won(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a campaign: it comes when the office is won."""

    header: Header = NO_HEADER
    leader: LeaderKey = msgspec.field(default_factory=LeaderKey)


class LeaderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Who leads: `kv.value` is what was proclaimed."""

    header: Header = NO_HEADER
    kv: KeyValue = msgspec.field(default_factory=KeyValue)


@frozen(repr=False)
class Locks(Group):
    """The server's own lock. `Client.lock` is the better one, for all but a short trial.

    Here nobody renews the lease, nobody says when the lock is lost, and each wait takes a place among the client's
    requests. Where no lease is given, the server makes one of 60 s that ends, and with it the lock, in mid-work. And
    etcd 3.4 gives the lock to a contender whose lease ended while it waited: there, see whether `key` exists.
    """

    async def lock(
        self, name: Key, lease: int = 0, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> LockResponse:
        """Wait for a lock, and have it.

        lease: ID of the lease that it ends with, which is the caller's to renew. It is had again at once by the same
            lease. 0 has the server make one of 60 s, which cannot be renewed.
        timeout: Seconds to wait; then the server takes the contender out of its queue.

        Raises LeaseNotFound, and OutcomeUnknown where it was not had in time: until the server has noticed, and without
        an answer for up to the lease's time, the entry may stand in the queue or own the lock. So it is with a cancel.
        """
        message: Wire = {"name": _named(name), "lease": whole(lease, "lease")}
        body = await _patiently(self._gateway, LOCK, message, timeout, peer)
        return self._gateway.read(body, LockResponse)

    async def unlock(self, key: bytes, *, timeout: float | Timeout | None = None, peer: str | None = None) -> Empty:
        """Give a lock back. `key` is that of `LockResponse`; it is no error if it is gone already."""
        message: Wire = {"key": _named(key, "key")}
        return self._gateway.read(await self._gateway.send(UNLOCK, message, timeout=timeout, peer=peer), Empty)


@frozen(repr=False)
class Elections(Group):
    """The server's own election. `Client.election` is the better one: it renews, and says when leadership is lost.

    Here nobody renews the lease: where none is given, the server makes one of 60 s that ends, and with it the office.
    """

    async def campaign(
        self, name: Key, value: Key = "", lease: int = 0, *, timeout: float | Timeout | None = None
    ) -> Won:
        """Wait for an office, and have it.

        value: What all who ask are told of this leader.
        lease: ID of the lease that it ends with, which is the caller's to renew. A second campaign by the same lease
            only changes the value. 0 has the server make one of 60 s, which cannot be renewed.
        timeout: Seconds to wait; then the server takes the candidate out of its queue.

        Raises LeaseNotFound, and OutcomeUnknown as `Locks.lock` does.
        """
        message: Wire = {"name": _named(name), "value": bytes_of(value, "value"), "lease": whole(lease, "lease")}
        return self._gateway.read(await _patiently(self._gateway, CAMPAIGN, message, timeout, None), Won)

    async def proclaim(self, leader: LeaderKey | Won, value: Key, *, timeout: float | Timeout | None = None) -> Empty:
        """Change what all who ask are told of the leader.

        leader: What `campaign` answered, or its `leader`.

        Raises CompareFailed where the office is held no longer, OutcomeUnknown.
        """
        message: Wire = {"leader": _key_wire(leader), "value": bytes_of(value, "value")}
        return self._gateway.read(await self._gateway.send(PROCLAIM, message, timeout=timeout), Empty)

    async def leader(self, name: Key, *, timeout: float | Timeout | None = None) -> LeaderResponse | None:
        """Who leads now, or None."""
        try:
            body = await self._gateway.send(LEADER, {"name": _named(name)}, timeout=timeout)
        except KeyNotFound:
            return None
        return self._gateway.read(body, LeaderResponse)

    def observe(
        self, name: Key, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> AbstractAsyncContextManager[Leaders]:
        """Who leads, and each who does after: `async with ... as leaders`, then `async for answer in leaders`.

        The newest is told, not every one in between. It is one request, which ends with its peer and is not resumed;
        `Client.election(name).observe()` goes on.
        timeout: Seconds to wait for the first leader, for until then the server is silent; by default for ever.
        """
        limits = Timeout(math.inf, read=math.inf) if timeout is None else Timeout.of(timeout)
        if limits.read is None:
            limits = evolve(limits, read=limits.total)
        return _observe(self._gateway, {"name": _named(name)}, limits, peer)

    async def resign(self, leader: LeaderKey | Won, *, timeout: float | Timeout | None = None) -> Empty:
        """Give an office up: `leader` is as for `proclaim`. It is no error if it is held no longer."""
        return self._gateway.read(
            await self._gateway.send(RESIGN, {"leader": _key_wire(leader)}, timeout=timeout), Empty
        )


@define(eq=False)
class Leaders:
    """The leaders of one election, newest last. Iteration raises ConnectFailed when the server ends it."""

    _messages: Messages[LeaderResponse]
    _namespace: Namespace
    _waiting: list[LeaderResponse] = field(factory=list, init=False)

    def __repr__(self) -> str:
        return f"<Leaders from {self._messages.stream.peer}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LeaderResponse:
        if not self._waiting:
            self._waiting = list(await self._messages.next())
        if not self._waiting:
            raise self._messages.cut("by the server's will")
        return self._namespace.leave(self._waiting.pop(0))


@asynccontextmanager
async def _observe(gateway: Gateway, message: Wire, timeout: Timeout, peer: str | None) -> AsyncIterator[Leaders]:
    sent, kind = gateway.namespace.enter(message), Envelope[LeaderResponse]
    async with open_stream(gateway, OBSERVE, sent, kind, timeout=timeout, peer=peer) as messages:
        yield Leaders(messages, gateway.namespace)


async def _patiently(
    gateway: Gateway, route: Route, message: Wire, timeout: float | Timeout | None, peer: str | None
) -> bytes:
    """Send what the server itself holds back until its turn has come, and tell it for how long."""
    limits = gateway.channel.pool.timeout if timeout is None else Timeout.of(timeout)
    response = await gateway.exchange(route, message, timeout=limits, peer=peer, headers=server_deadline(limits.total))
    return response.body


def server_deadline(seconds: float) -> dict[str, str]:
    """Has the server give up by itself: a proxy between may keep a connection whose client went away.

    In whole units, as the gateway wants it: it answers 400 to a fraction.
    """
    if seconds == math.inf:
        return {}
    return {"Grpc-Timeout": f"{math.ceil(seconds * 1000)}m" if seconds < 10_000 else f"{math.ceil(seconds)}S"}


def _named(name: Key, argument: str = "name") -> bytes:
    named = bytes_of(name, argument)
    if not named:
        raise ValueError(f"{argument} must not be empty")
    return named


def _key_wire(leader: LeaderKey | Won) -> Wire:
    office = leader.leader if isinstance(leader, Won) else leader
    if not isinstance(office, LeaderKey):
        raise TypeError(f"leader must be a LeaderKey, or the Won of a campaign, not {type(office).__name__}")
    return {"name": office.name, "key": office.key, "rev": office.rev, "lease": office.lease}
