"""Leases: keys that end when nobody renews them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, field, frozen
from msgspec.structs import replace

from aetcd._wire.message import Effect
from aetcd.errors import LeaseNotFound
from aetcd.etcd.v3._arguments import flag, text
from aetcd.etcd.v3._codec import Route, Wire, positive, whole
from aetcd.etcd.v3._gateway import Group
from aetcd.etcd.v3._keepalive import KEEP_ALIVE, KeepAlive, Renewals, keep_alive
from aetcd.etcd.v3._models import Empty, LeaseGrant, LeaseList, LeaseTimeToLive

if TYPE_CHECKING:
    from aetcd._transport.timeouts import Timeout
    from aetcd.etcd.v3._gateway import Gateway

__all__ = ["GRANT", "KEEP_ALIVE", "LEASES", "REVOKE", "TIME_TO_LIVE", "Leases"]

# A grant whose answer was lost leaves a lease that nobody renews: it ends by itself, so asking again does no harm.
GRANT = Route(operation="v3 lease grant", path="/lease/grant", effect=Effect.REPEATABLE)
REVOKE = Route(operation="v3 lease revoke", path="/lease/revoke", effect=Effect.REPEATABLE, old_path="/kv/lease/revoke")
TIME_TO_LIVE = Route(
    operation="v3 lease time to live", path="/lease/timetolive", effect=Effect.READ, old_path="/kv/lease/timetolive"
)
LEASES = Route(
    operation="v3 lease list", path="/lease/leases", effect=Effect.READ, needs="3.3", old_path="/kv/lease/leases"
)


@frozen(eq=False, repr=False)
class Leases(Group):
    """Leases: keys tied to one are deleted by the server when it ends."""

    _renewals: Renewals = field(default=Factory(lambda self: Renewals(self._gateway), takes_self=True))

    def within(self, gateway: Gateway) -> Leases:
        """The same leases, as they are told within a namespace; the renewals of all still travel together."""
        return Leases(gateway, self._renewals)

    async def grant(
        self,
        ttl: int,
        id: int = 0,
        *,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> LeaseGrant:
        """Have a lease.

        ttl: Seconds without renewal after which it ends: whole, at least 1. The server may raise short ones; use the
            answer's `ttl`.
        id: Its ID; 0 has the server choose one.

        Raises LeaseExists, InvalidRequest (a TTL above 9,000,000,000), and with an ID of one's own OutcomeUnknown.
        """
        message: Wire = {"TTL": positive(ttl, "ttl")}
        if not whole(id, "id"):
            return await self._gateway.ask(GRANT, message, LeaseGrant, timeout=timeout, peer=peer)
        # Sent twice, an ID of one's own would be refused as taken, though it is the caller's.
        message["ID"] = id
        return await self._gateway.ask(GRANT, message, LeaseGrant, effect=Effect.ONCE, timeout=timeout, peer=peer)

    async def revoke(
        self,
        id: int,
        *,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> Empty:
        """End a lease and delete its keys.

        Raises LeaseNotFound, also when an earlier attempt of this call revoked it and its answer was lost.
        """
        message = {"ID": positive(id, "id")}
        return await self._gateway.ask(REVOKE, message, Empty, timeout=timeout, peer=peer)

    async def keep_alive_once(
        self,
        id: int,
        *,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> int:
        """Renew a lease; the seconds that it was granted anew.

        Calls of one turn of the event loop travel together, nineteen in a request.

        Raises LeaseNotFound where it has ended.
        """
        if peer is not None:
            text(peer, "peer")  # here, since what is wrong in the request that several share is told to nobody
        ttl = await self._renewals.renew(positive(id, "id"), timeout=timeout, peer=peer)
        if ttl <= 0:
            raise LeaseNotFound(f"lease {id:x} has ended", status=200, operation=KEEP_ALIVE.operation, peer=peer)
        return ttl

    def keep_alive(self, id: int) -> KeepAlive:
        """Renew a lease for as long as a block runs, and tell of its loss: `async with ...keep_alive(id) as kept`.

        Entering it renews it once, and raises LeaseNotFound where it has ended. See `KeepAlive`.
        """
        return keep_alive(positive(id, "id"), self._renewals, self._gateway)

    async def time_to_live(
        self,
        id: int,
        *,
        keys: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> LeaseTimeToLive:
        """How long a lease has left.

        keys: Answer the keys tied to it too.

        Raises LeaseNotFound where it has ended.
        """
        message = {"ID": positive(id, "id"), "keys": flag(keys, "keys")}
        answer = await self._gateway.ask(TIME_TO_LIVE, message, LeaseTimeToLive, timeout=timeout, peer=peer)
        # The server says -1 of one that it does not know.
        if answer.granted_ttl <= 0:
            raise LeaseNotFound(f"lease {id:x} has ended", status=200, operation=TIME_TO_LIVE.operation, peer=peer)
        return replace(answer, keys=self._gateway.namespace.shown(answer.keys))

    async def list(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> tuple[int, ...]:
        """IDs of the leases that live.

        Raises Unsupported before etcd 3.3.
        """
        answer = await self._gateway.ask(LEASES, {}, LeaseList, timeout=timeout, peer=peer)
        return tuple(lease.id for lease in answer.leases)
