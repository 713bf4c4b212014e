"""What etcd v3 answers, as values.

They are structs, not attrs classes: one is read for every key, event and operation, in two fifths of the time, and the
wire mixes `ID`, `TTL`, `dbSize` and `raft_term`, which only structs can have names of their own for. The gateway leaves
out every zero, false and empty value, so each field has its zero as the default.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "Alarm",
    "AlarmResponse",
    "AuthStatus",
    "DeleteRangeResponse",
    "DowngradeResponse",
    "Empty",
    "Event",
    "HashKVResponse",
    "HashResponse",
    "Header",
    "KeyValue",
    "LeaseGrant",
    "LeaseList",
    "LeaseRef",
    "LeaseTimeToLive",
    "Member",
    "MemberChange",
    "MemberList",
    "Permission",
    "PermissionType",
    "PutResponse",
    "RangeResponse",
    "ResponseOp",
    "Role",
    "RoleList",
    "ServerVersion",
    "Status",
    "Token",
    "TxnResponse",
    "User",
    "UserList",
]

PermissionType = Literal["READ", "WRITE", "READWRITE"]


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which cluster and member answered, and where it stood.

    revision: The key space's revision when the answer was made; 0 where the answer has none (member list, errors).
    raft_term: Grows with each election: an older one than seen before tells of a member left behind.
    """

    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0


NO_HEADER = Header()


class KeyValue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A key as it stands at one revision.

    create_revision: Revision of the write that created it, since when it was never deleted.
    mod_revision: Revision of its last write.
    version: Number of writes since its creation; 0 tells a deletion.
    lease: ID of the lease that it ends with; 0 without one.
    """

    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class RangeResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a read found.

    kvs: In the order asked for; by key without a wish.
    more: Whether `limit` cut the answer short.
    count: Number of keys in the range, whatever `limit` says.
    """

    header: Header = NO_HEADER
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0


class PutResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A write that was applied.

    prev_kv: What stood there, where it was asked for and there was something.
    """

    header: Header = NO_HEADER
    prev_kv: KeyValue | None = None


class DeleteRangeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion that was applied.

    deleted: Number of keys that are gone; 0 means there was nothing.
    prev_kvs: What stood there, where it was asked for.
    """

    header: Header = NO_HEADER
    deleted: int = 0
    prev_kvs: tuple[KeyValue, ...] = ()


class ResponseOp(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer within a transaction's: exactly one field is set."""

    response_range: RangeResponse | None = None
    response_put: PutResponse | None = None
    response_delete_range: DeleteRangeResponse | None = None
    response_txn: TxnResponse | None = None


class TxnResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A transaction's answer as on the wire; `aetcd.etcd.v3.TxnResult` is what a caller gets."""

    header: Header = NO_HEADER
    succeeded: bool = False
    responses: tuple[ResponseOp, ...] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change that a watch saw.

    kv: The key as it was written. A deletion's has the key and the revision of the deletion only.
    prev_kv: What stood before, where it was asked for and is not compacted.
    """

    type: Literal["PUT", "DELETE"] = "PUT"
    kv: KeyValue = msgspec.field(default_factory=KeyValue)
    prev_kv: KeyValue | None = None


class ServerVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a member runs.

    server: Its own version, such as `3.5.1`.
    cluster: The version that all members can speak; it lags behind while members are upgraded.
    """

    server: str
    cluster: str = ""


class Empty(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that says only that it was done."""

    header: Header = NO_HEADER


class LeaseGrant(msgspec.Struct, frozen=True, kw_only=True, rename={"id": "ID", "ttl": "TTL"}):
    """A lease that was granted or renewed.

    ttl: Seconds that the server granted. It may be more than was asked: short ones are raised. 0 in the answer to the
        renewal of one that has ended.
    """

    header: Header = NO_HEADER
    id: int = 0
    ttl: int = 0


class LeaseTimeToLive(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"id": "ID", "ttl": "TTL", "granted_ttl": "grantedTTL"},
):
    """How long a lease has left.

    ttl: Seconds left, rounded down.
    granted_ttl: Seconds from one renewal to the end.
    keys: The keys tied to it, where they were asked for.
    """

    header: Header = NO_HEADER
    id: int = 0
    ttl: int = 0
    granted_ttl: int = 0
    keys: tuple[bytes, ...] = ()


class LeaseRef(msgspec.Struct, frozen=True, kw_only=True, rename={"id": "ID"}):
    """A lease in a list."""

    id: int = 0


class LeaseList(msgspec.Struct, frozen=True, kw_only=True):
    """Every lease that lives."""

    header: Header = NO_HEADER
    leases: tuple[LeaseRef, ...] = ()


class Member(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"id": "ID", "peer_urls": "peerURLs", "client_urls": "clientURLs", "is_learner": "isLearner"},
):
    """A member of the cluster.

    name: Empty until the member has started.
    is_learner: It follows the log and does not vote.
    """

    id: int = 0
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class MemberList(msgspec.Struct, frozen=True, kw_only=True):
    """Every member, as the one that answered knows them."""

    header: Header = NO_HEADER
    members: tuple[Member, ...] = ()


class MemberChange(msgspec.Struct, frozen=True, kw_only=True):
    """The membership after a change.

    member: The one that was added; None for the other changes.
    """

    header: Header = NO_HEADER
    member: Member | None = None
    members: tuple[Member, ...] = ()


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How one member is.

    db_size: Bytes on its disk; `db_size_in_use` is what a defragmentation would leave.
    leader: ID of the member that it takes for the leader; 0 when it knows none.
    errors: What is wrong with it, such as an alarm.
    """

    header: Header = NO_HEADER
    version: str = ""
    db_size: int = 0
    db_size_in_use: int = 0
    db_size_quota: int = 0
    leader: int = 0
    raft_index: int = 0
    raft_term: int = 0
    raft_applied_index: int = 0
    errors: tuple[str, ...] = ()
    is_learner: bool = False
    storage_version: str = ""


class Alarm(msgspec.Struct, frozen=True, kw_only=True, rename={"member_id": "memberID"}):
    """An alarm that stands.

    alarm: `NOSPACE` (writes are refused until space is made and the alarm is taken back) or `CORRUPT`.
    """

    member_id: int = 0
    alarm: str = "NONE"


class AlarmResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms: those that stand, or those just taken back."""

    header: Header = NO_HEADER
    alarms: tuple[Alarm, ...] = ()


class HashResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Hash of a member's whole database."""

    header: Header = NO_HEADER
    hash: int = 0


class HashKVResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Hash of a member's keys up to a revision: equal on all members for equal `hash_revision` and `compact_revision`.

    hash_revision: Revision that the hash is of; 0 from servers before 3.6, which do not tell.
    """

    header: Header = NO_HEADER
    hash: int = 0
    compact_revision: int = 0
    hash_revision: int = 0


class DowngradeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """version: The cluster's version when the answer was made."""

    header: Header = NO_HEADER
    version: str = ""


class AuthStatus(msgspec.Struct, frozen=True, kw_only=True, rename={"auth_revision": "authRevision"}):
    """Whether credentials are asked for.

    auth_revision: Grows with each change of users and roles.
    """

    header: Header = NO_HEADER
    enabled: bool = False
    auth_revision: int = 0


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What proves who one is: sent as it stands in `Authorization`, with no `Bearer` before it."""

    header: Header = NO_HEADER
    token: str = ""

    def __repr__(self) -> str:
        return f"Token(header={self.header!r}, token=***)"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user's roles."""

    header: Header = NO_HEADER
    roles: tuple[str, ...] = ()


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """Names of the users."""

    header: Header = NO_HEADER
    users: tuple[str, ...] = ()


class Permission(msgspec.Struct, frozen=True, kw_only=True, rename={"perm_type": "permType"}):
    r"""What a role may do with a range of keys.

    range_end: Empty for the one key; `\0` for every key from it on.
    """

    perm_type: PermissionType = "READ"
    key: bytes = b""
    range_end: bytes = b""


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role's permissions."""

    header: Header = NO_HEADER
    perm: tuple[Permission, ...] = ()


class RoleList(msgspec.Struct, frozen=True, kw_only=True):
    """Names of the roles."""

    header: Header = NO_HEADER
    roles: tuple[str, ...] = ()
