"""Keeping leases alive: together, and for as long as a block runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import define, field

from aetcd._transport.timeouts import Budget, Timeout
from aetcd._trust import Flag, Trust, boot_clock
from aetcd._wire.decode import decode
from aetcd._wire.framing import JSONValues
from aetcd._wire.message import Effect
from aetcd.errors import AetcdError, ClientClosed, ConnectFailed, LeaseNotFound, RequestTimeout, SessionLost
from aetcd.etcd._session import Session
from aetcd.etcd.v3._codec import Route, body_of
from aetcd.etcd.v3._errors import error_of, fault_of
from aetcd.etcd.v3._models import LeaseGrant
from aetcd.etcd.v3._streams import Envelope

if TYPE_CHECKING:
    from aetcd._routing.peer import Peer
    from aetcd.etcd.v3._gateway import Gateway

__all__ = ["KEEP_ALIVE", "KeepAlive", "Renewals", "keep_alive"]

KEEP_ALIVE = Route(operation="v3 lease keep-alive", path="/lease/keepalive", effect=Effect.REPEATABLE)

# A request holds several renewals one after the other. The gateway reads it by pieces of 512 bytes, and Go's server
# drops what was not read when the head of the answer is written. Measured on 3.4.23 and 3.5.1 under load: of 494 bytes
# all of 300 requests were answered whole, of 1040 bytes 5 in 60 only as far as the first piece went.
AT_ONCE = 512 // len(body_of({"ID": (1 << 63) - 1}))


@define(eq=False)
class _Batch:
    """Renewals for one request.

    limits: The longest that one of their callers waits.
    waiting: By the lease's ID, who is to be told of the TTL.
    """

    limits: Timeout
    waiting: dict[int, list[asyncio.Future[int]]] = field(factory=dict)

    def add(self, id: int, limits: Timeout) -> asyncio.Future[int]:
        """One more."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(id, []).append(answer)
        if limits.total > self.limits.total:
            self.limits = limits
        return answer

    def answer(self, id: int, ttl: int) -> None:
        """Tell all who asked for this lease."""
        for answer in self.waiting.pop(id, ()):
            if not answer.done():
                answer.set_result(ttl)

    def fail(self, error: AetcdError) -> None:
        """Tell all who were told nothing."""
        for answers in self.waiting.values():
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
        self.waiting.clear()


@define(eq=False)
class Renewals:
    """Sends the renewals that are asked for in the same turn of the loop together, to each peer by itself."""

    _gateway: Gateway
    _due: dict[str | None, _Batch] = field(factory=dict, init=False)

    async def renew(self, id: int, *, timeout: float | Timeout | None, peer: str | None) -> int:
        """Renew a lease; the TTL that it was granted anew, 0 where it has ended."""
        pool = self._gateway.channel.pool
        limits = pool.timeout if timeout is None else Timeout.of(timeout)
        batch = self._due.get(peer)
        if batch is None or (len(batch.waiting) >= AT_ONCE and id not in batch.waiting):
            batch = _Batch(limits)
            # It runs in the next turn: until then, others join.
            pool.spawn(partial(self._send, peer, batch), name="lease keep-alive")
            self._due[peer] = batch
        answer = batch.add(id, limits)
        try:
            async with asyncio.timeout(None if limits.total == math.inf else limits.total):
                return await answer
        except TimeoutError as e:
            if isinstance(e, AetcdError):
                raise
            text = f"no answer within {limits.total:g} s"
            raise RequestTimeout(text, peer=peer, operation=KEEP_ALIVE.operation) from e

    async def _send(self, peer: str | None, batch: _Batch) -> None:
        if self._due.get(peer) is batch:
            del self._due[peer]
        budget = Budget(batch.limits, asyncio.get_running_loop().time)
        try:
            while batch.waiting:
                asked = len(batch.waiting)
                await self._ask(batch, budget.left(), peer)
                if len(batch.waiting) == asked:
                    raise ConnectFailed("the answer was empty", peer=peer, operation=KEEP_ALIVE.operation)
        except AetcdError as e:
            batch.fail(e)
        finally:
            batch.fail(ClientClosed("the client was closed"))

    async def _ask(self, batch: _Batch, limits: Timeout, peer: str | None) -> None:
        prefix = await self._gateway.resolve(timeout=limits, peer=peer)
        body = b"".join(body_of({"ID": lease}) for lease in batch.waiting)
        response = await self._gateway.channel.send(KEEP_ALIVE.request(prefix, body), timeout=limits, peer=peer)
        for value in JSONValues().feed(KEEP_ALIVE.check(response) + b"\n"):
            renewed = decode(value, Envelope[LeaseGrant]).result
            if renewed is None:
                raise error_of(fault_of(value, 200), operation=KEEP_ALIVE.operation, peer=response.peer)
            batch.answer(renewed.id, renewed.ttl)


class KeepAlive:
    """Renews a lease for as long as its block runs: `async with client.v3.lease.keep_alive(id) as kept`.

    It renews in the background, each sixth of the TTL, at the peers in turn. The lease is trusted until the sending of
    the last confirmed renewal plus the TTL, and not a moment longer; `lost` is then set for good. Leaving the block
    stops the renewing and leaves the lease to run out.

    `async for ttl in kept` gives the TTL of each renewal from now on that is confirmed, and raises SessionLost when the
    lease is lost. A slow reader gets the newest, and not each.
    """

    def __init__(self, lease: Kept, make_session: Callable[[Kept], Session]) -> None:
        self._lease = lease
        self._session = make_session(lease)

    @property
    def id(self) -> int:
        """The lease's ID."""
        return self._lease.id

    @property
    def ttl(self) -> int:
        """Seconds that the last renewal granted."""
        return self._lease.ttl

    @property
    def lost(self) -> Flag:
        """Whether it ended, or cannot be trusted any more: `await kept.lost.wait()`."""
        return self._session.lost

    @property
    def held(self) -> bool:
        """Whether it can be trusted, by the clock now."""
        return self._session.held

    @property
    def expires_in(self) -> float:
        """Seconds for which it can be trusted without another renewal; 0 once it cannot."""
        return self._session.expires_in

    async def __aenter__(self) -> Self:
        """Renew it once. Raises LeaseNotFound, and what the pool raises."""
        await self._session.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        news = self._lease.renewed
        while self.held:
            # Its trust can end at any moment without a word from anywhere, or be prolonged meanwhile.
            with suppress(TimeoutError):
                async with asyncio.timeout(self.expires_in):
                    await news.wait()
                news.clear()
                if self.held:
                    return self.ttl
        raise SessionLost(f"lease {self.id:x} is lost, or its block was left")

    def __repr__(self) -> str:
        return f"<KeepAlive of lease {self.id:x}: {self._session!r}>"


@define(eq=False)
class Kept:
    """A lease that is somebody else's: it was granted before, and is not revoked at the end."""

    id: int
    renewals: Renewals
    ttl: int = field(default=0, init=False)
    renewed: asyncio.Event = field(factory=asyncio.Event, init=False)
    clock_skew: float = field(default=0.0, init=False)

    async def begin(self, ttl: int) -> int:
        """Renew it, which tells its TTL."""
        self.ttl = await self.renewals.renew(self.id, timeout=None, peer=None)
        if self.ttl <= 0:
            raise LeaseNotFound(f"lease {self.id:x} has ended", status=200, operation=KEEP_ALIVE.operation)
        return self.ttl

    async def renew(self, trust: Trust, peer: Peer | None, timeout: float) -> None:
        """Renew it once."""
        sent = trust.clock()
        ttl = await self.renewals.renew(self.id, timeout=timeout, peer=None if peer is None else peer.url)
        self.renewed.set()
        if ttl <= 0:
            raise SessionLost(f"lease {self.id:x} ran out or was revoked")
        trust.confirm(sent, ttl)
        self.ttl = ttl

    async def end(self) -> None:
        """Let it run out."""


def keep_alive(id: int, renewals: Renewals, gateway: Gateway) -> KeepAlive:
    """Renew a lease while a block runs."""
    pool = gateway.channel.pool

    def session(lease: Kept) -> Session:
        async def given() -> Kept:
            return lease

        # Its TTL is not known before it begins.
        return Session(1, lease=given, spawn=pool.spawn, peers=lambda: pool.peers, clock=boot_clock)

    return KeepAlive(Kept(id, renewals), session)
