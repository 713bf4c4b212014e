"""The whole of etcd's v3 API, spoken to its JSON gateway.

answer = await client.v3.range("config/", prefix=True)
result = await client.v3.txn().when(Version("a") == 0).then(Put("a", "1")).otherwise(Get("a"))
lease = await client.v3.lease.grant(15)
"""

from __future__ import annotations

import time
from copy import copy
from typing import TYPE_CHECKING
from weakref import WeakSet

from aetcd.etcd.v3._admin import Cluster, Maintenance
from aetcd.etcd.v3._auth import Auth
from aetcd.etcd.v3._codec import Key, bytes_of, prefix_end
from aetcd.etcd.v3._coordination import Elections, LeaderKey, LeaderResponse, Leaders, LockResponse, Locks, Won
from aetcd.etcd.v3._gateway import Gateway, NamespacedGateway
from aetcd.etcd.v3._guard import Guard
from aetcd.etcd.v3._hub import Hub
from aetcd.etcd.v3._keepalive import KeepAlive
from aetcd.etcd.v3._kv import KV
from aetcd.etcd.v3._lease import Leases
from aetcd.etcd.v3._models import (
    Alarm,
    AlarmResponse,
    AuthStatus,
    DeleteRangeResponse,
    DowngradeResponse,
    Empty,
    Event,
    HashKVResponse,
    HashResponse,
    Header,
    KeyValue,
    LeaseGrant,
    LeaseTimeToLive,
    Member,
    MemberChange,
    MemberList,
    Permission,
    PutResponse,
    RangeResponse,
    Role,
    ServerVersion,
    Status,
)
from aetcd.etcd.v3._native_watch import EventWatch, watch_events
from aetcd.etcd.v3._ops import Delete, Get, Put
from aetcd.etcd.v3._snapshot import SavedSnapshot, SnapshotStream
from aetcd.etcd.v3._stm import ATTEMPTS, STM, Transaction
from aetcd.etcd.v3._txn import (
    Compare,
    CreateRevision,
    Lease,
    ModRevision,
    Txn,
    TxnBuilder,
    TxnResult,
    Value,
    Version,
    commit,
)

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel
    from aetcd._transport.timeouts import Timeout
    from aetcd.etcd._watch import Watch

__all__ = [
    "STM",
    "V3",
    "Alarm",
    "AlarmResponse",
    "Auth",
    "AuthStatus",
    "Cluster",
    "Compare",
    "CreateRevision",
    "Delete",
    "DeleteRangeResponse",
    "DowngradeResponse",
    "Elections",
    "Empty",
    "Event",
    "EventWatch",
    "Get",
    "HashKVResponse",
    "HashResponse",
    "Header",
    "KeepAlive",
    "Key",
    "KeyValue",
    "LeaderKey",
    "LeaderResponse",
    "Leaders",
    "Lease",
    "LeaseGrant",
    "LeaseTimeToLive",
    "Leases",
    "LockResponse",
    "Locks",
    "Maintenance",
    "Member",
    "MemberChange",
    "MemberList",
    "ModRevision",
    "Permission",
    "Put",
    "PutResponse",
    "RangeResponse",
    "Role",
    "SavedSnapshot",
    "ServerVersion",
    "SnapshotStream",
    "Status",
    "Transaction",
    "Txn",
    "TxnBuilder",
    "TxnResult",
    "Value",
    "Version",
    "Won",
    "prefix_end",
]


class V3(KV):
    """etcd's v3 API. Keys and values flat on it, the rest in groups.

    Every call takes `timeout=`, in seconds, for the whole of it (the client's by default), and those that a member
    answers for itself `peer=`, its URL: then no other is asked, and one that is not reached raises ConnectFailed.

    A refusal raises the class of `aetcd.errors` that it means. A write without an answer raises OutcomeUnknown.

    Keys are those of the server, whatever `namespace=` the client has, which is that of its own calls and recipes only;
    `namespace()` gives the same calls on the keys below a prefix.

    lease, auth, cluster, maintenance, lock, election: The groups.
    watches: Its watches, those of its namespaces too: a client's `status()` tells of them.
    """

    def __init__(
        self, channel: Channel, *, prefix: str | None = None, watch_sharing: bool = False, guard: bool = False
    ) -> None:
        """Speak by `channel`, to a gateway below `prefix`: found by the server's version where it is not given.

        watch_sharing: Have all watches share a few streams, and not a request for each.
        guard: Leave out members whose answers contradict what was seen before: see `Guard`.
        """
        self.gateway: Gateway = Gateway(channel, prefix=prefix, guard=Guard(time.monotonic) if guard else None)
        self.hub = Hub(self.gateway) if watch_sharing else None
        self.watches: WeakSet[Watch] = WeakSet()
        self.lease = Leases(self.gateway)
        self.auth = Auth(self.gateway)
        self.cluster = Cluster(self.gateway)
        self.maintenance = Maintenance(self.gateway)
        self.lock = Locks(self.gateway)
        self.election = Elections(self.gateway)

    def namespace(self, prefix: Key) -> V3:
        """The same API on the keys below a prefix, as Go's `clientv3/namespace`: `client.v3.namespace("service-a/")`.

        The prefix is put before every key, range end, and name of a lock or election that is sent, in transactions and
        watches too, and taken from every key that is told. Ranges end with the namespace: what reaches to the end of
        the key space without it, goes to its own end here, and of a lease's keys only those in it are told. Namespaces
        within others add up, and keys given as text or bytes are as in any other call.

        A prefix ends where it is said to: give it its slash, or `service-ab/` is in the namespace too. A key that is
        the bare prefix has no name in it, and is never told. A `Txn`, which is a value, is about the keys of whoever
        commits it.

        Leases, users, members and upkeep are the cluster's, and so are revisions: `compact` forgets the past of all
        keys. Permissions are granted on the server's own keys. The namespace is free to make, shares all connections
        and streams, and needs no closing. It keeps honest code in its place; it is no protection from other.

        Raises ValueError for an empty prefix, which would be the whole key space.
        """
        below = bytes_of(prefix, "prefix")
        if not below:
            raise ValueError("prefix must not be empty")
        inner = copy(self)
        inner.gateway = NamespacedGateway.of(self.gateway, below)
        inner.lease = self.lease.within(inner.gateway)
        inner.lock = Locks(inner.gateway)
        inner.election = Elections(inner.gateway)
        return inner

    async def version(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> ServerVersion:
        """What the server runs, and what the cluster can speak. Needs no credentials."""
        return await self.gateway.version(timeout=timeout, peer=peer)

    async def prefix(self, *, timeout: float | Timeout | None = None) -> str:
        """The path that the gateway stands below: `/v3`, `/v3beta` for etcd 3.3, `/v3alpha` before.

        The server's version is asked for once. Raises Unsupported where it speaks no v3.
        """
        return await self.gateway.resolve(timeout=timeout)

    def txn(self) -> TxnBuilder:
        """A transaction to be gathered, and sent by awaiting it."""
        return TxnBuilder(self.gateway)

    async def commit(
        self, txn: Txn | TxnBuilder, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> TxnResult:
        """Send a transaction: a value, or a builder as it is now. Raises as `TxnBuilder.commit` does."""
        return await commit(self.gateway, txn, timeout=timeout, peer=peer)

    def watch(
        self,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        from_key: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        no_put: bool = False,
        no_delete: bool = False,
        progress_notify: bool = True,
        fragment: bool = True,
        timeout: float | Timeout | None = None,
    ) -> EventWatch:
        """Events of a range, as an async iterator: `async with client.v3.watch("config/", prefix=True) as events`.

        start_revision: The first revision wanted; 0 is from now on. That of the past is given first.
        prev_kv: Have the server tell what stood there before.
        no_put, no_delete: Have it leave out writes or deletions.
        progress_notify: Have it tell how far it is while nothing happens (every ten minutes by default), so that
            `revision` grows and less of the past is asked for after a break.
        fragment: Let it cut what is large into several messages, which are joined again here.
        timeout: Seconds for the watch to stand.

        See `EventWatch`. Entering it raises what `range` raises, and HistoryLost where the cluster has not come as far
        as the start: etcd would be silent until it has, but a cluster that was restored from a backup looks just so.
        That a start is compacted, etcd says when the watch stands already: the iteration raises it.
        """
        return watch_events(
            self,
            key,
            range_end,
            prefix,
            from_key,
            start_revision,
            timeout,
            prev_kv=prev_kv,
            no_put=no_put,
            no_delete=no_delete,
            progress_notify=progress_notify,
            fragment=fragment,
        )

    def stm(self, *, attempts: int = ATTEMPTS, timeout: float | Timeout | None = None) -> STM:
        """A transaction that reads and writes as it goes, and is applied whole or not at all: a block or a function.

            async with client.v3.stm() as txn:
                txn.put("b", await txn.get("a") or b"")

            @client.v3.stm(attempts=10)
            async def copy(txn: Transaction, source: str, target: str) -> None:
                txn.put(target, await txn.get(source) or b"")

            await copy("a", "b")

        See `STM` for what it promises.
        attempts: How often a function is run at most.
        timeout: Seconds for all requests of it together.
        """
        return STM(self.gateway, attempts=attempts, timeout=timeout)

    def __repr__(self) -> str:
        return f"<V3 {self.gateway.place}>"
