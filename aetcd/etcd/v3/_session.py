"""What a session is on etcd v3: a lease that is kept alive."""

from __future__ import annotations

from attrs import define, field

from aetcd._routing.peer import Peer
from aetcd._trust import Trust
from aetcd.errors import LeaseNotFound, SessionLost
from aetcd.etcd._session import Session
from aetcd.etcd.v3._lease import Leases

__all__ = ["V3Lease", "lease_of"]


@define(eq=False)
class V3Lease:
    """One lease; keys are tied to it by its ID, 0 before it was granted."""

    leases: Leases
    id: int = field(default=0, init=False)
    # The leader counts a lease's life by its own monotonic clock, and gives each a whole TTL anew when it changes.
    clock_skew: float = field(default=0.0, init=False)

    async def begin(self, ttl: int) -> int:
        """Have it granted."""
        lease = await self.leases.grant(ttl)
        self.id = lease.id
        return lease.ttl

    async def renew(self, trust: Trust, peer: Peer | None, timeout: float) -> None:
        """Keep it alive once."""
        sent = trust.clock()
        try:
            ttl = await self.leases.keep_alive_once(self.id, timeout=timeout, peer=None if peer is None else peer.url)
        except LeaseNotFound as e:
            raise SessionLost(f"lease {self.id:x} ran out or was revoked") from e
        trust.confirm(sent, ttl)

    async def end(self) -> None:
        """Revoke it, and with it its keys."""
        try:
            await self.leases.revoke(self.id)
        except LeaseNotFound:
            return  # it ran out, or an earlier attempt revoked it


def lease_of(session: Session) -> int:
    """The lease that a session's keys are tied to. Raises SessionLost, and TypeError for one of another protocol."""
    lease = session.require()
    if not isinstance(lease, V3Lease):
        raise TypeError("session: it belongs to a client that speaks another protocol")
    return lease.id
