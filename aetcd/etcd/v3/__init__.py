"""The whole of etcd's v3 API, spoken to its JSON gateway.

answer = await client.v3.range("config/", prefix=True)
result = await client.v3.txn().when(Version("a") == 0).then(Put("a", "1")).otherwise(Get("a"))
lease = await client.v3.lease.grant(15)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetcd.etcd.v3._admin import Cluster, Maintenance
from aetcd.etcd.v3._auth import Auth
from aetcd.etcd.v3._codec import Key, prefix_end
from aetcd.etcd.v3._gateway import Gateway
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
from aetcd.etcd.v3._ops import Delete, Get, Put
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
    from aetcd._transport.pool import Channel
    from aetcd._transport.timeouts import Timeout

__all__ = [
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
    "Empty",
    "Event",
    "Get",
    "HashKVResponse",
    "HashResponse",
    "Header",
    "Key",
    "KeyValue",
    "Lease",
    "LeaseGrant",
    "LeaseTimeToLive",
    "Leases",
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
    "ServerVersion",
    "Status",
    "Txn",
    "TxnBuilder",
    "TxnResult",
    "Value",
    "Version",
    "prefix_end",
]


class V3(KV):
    """etcd's v3 API. Keys and values flat on it, the rest in groups.

    Every call takes `timeout=`, in seconds, for the whole of it (the client's by default), and those that a member
    answers for itself `peer=`, its URL: then no other is asked, and one that is not reached raises ConnectFailed.

    A refusal raises the class of `aetcd.errors` that it means. A write without an answer raises OutcomeUnknown.

    lease, auth, cluster, maintenance: The groups.
    """

    def __init__(self, channel: Channel, *, prefix: str | None = None) -> None:
        """Speak by `channel`, to a gateway below `prefix`: found by the server's version where it is not given."""
        self.gateway = Gateway(channel, prefix=prefix)
        self.lease = Leases(self.gateway)
        self.auth = Auth(self.gateway)
        self.cluster = Cluster(self.gateway)
        self.maintenance = Maintenance(self.gateway)

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

    async def commit(self, txn: Txn, *, timeout: float | Timeout | None = None, peer: str | None = None) -> TxnResult:
        """Send a transaction that was made as a value. Raises as `TxnBuilder.commit` does."""
        return await commit(self.gateway, txn, timeout=timeout, peer=peer)

    def __repr__(self) -> str:
        return f"<V3 at {self.gateway.channel!r}>"
