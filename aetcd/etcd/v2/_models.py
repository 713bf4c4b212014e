"""What a v2 server answers, as values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from attrs import frozen

from aetcd.errors import DecodeError

__all__ = [
    "KeysResponse",
    "V2FollowerStats",
    "V2Health",
    "V2LeaderStats",
    "V2Member",
    "V2Node",
    "V2Role",
    "V2SelfStats",
    "V2StoreStats",
    "V2User",
    "V2Version",
]


# A struct, since attrs classes are read under their own names only, and one is read for every key of a listing.
class V2Node(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    rename={"created_index": "createdIndex", "modified_index": "modifiedIndex", "expiration_text": "expiration"},
):
    """A key or a directory of the v2 key space, as one answer showed it.

    key: The whole path, with its leading slash; `/` is the root, of which servers tell no key.
    value: The text that is stored. None for a directory, and for a node that a delete or an expiry took away.
    created_index: The index at which it came to be. Of 0 only for the root, which has none.
    modified_index: The index of its last change; what `previous_index` compares with.
    ttl: Seconds left when the answer was made, rounded up; None without an expiry, and in its very last moment, when
        the server sends the time alone.
    expiration_text: When it expires, by the server's clock, as the server wrote it (RFC 3339, to the nanosecond).
    nodes: The children that the answer shows. Hidden ones (`_name`) are never among them.
    """

    key: str = "/"
    value: str | None = None
    dir: bool = False
    created_index: int = 0
    modified_index: int = 0
    ttl: int | None = None
    expiration_text: str | None = None
    nodes: tuple[V2Node, ...] = ()

    @property
    def expiration(self) -> datetime | None:
        """When it expires, by the server's clock, to the microsecond; None without an expiry."""
        return None if self.expiration_text is None else datetime.fromisoformat(self.expiration_text)

    def as_dict(self) -> dict[str, Any]:
        """The node under the server's own names, with those fields only that the server sends."""
        fields: dict[str, Any] = {} if self.key == "/" else {"key": self.key}
        if self.value is not None:
            fields["value"] = self.value
        if self.dir:
            fields["dir"] = True
        if self.expiration_text is not None:
            fields["expiration"] = self.expiration_text
        if self.ttl is not None:
            fields["ttl"] = self.ttl
        if self.nodes:
            fields["nodes"] = [node.as_dict() for node in self.nodes]
        if self.created_index:
            fields |= {"modifiedIndex": self.modified_index, "createdIndex": self.created_index}
        return fields


@frozen(kw_only=True)
class KeysResponse:
    """The whole answer of the keys API.

    action: What was done: `get`, `set`, `create`, `update`, `compareAndSwap`, `compareAndDelete`, `delete`, `expire`.
    node: The node afterwards. None where `no_value_on_success` asked for none.
    prev_node: The node before, where there was one.
    index: X-Etcd-Index, the index of the whole store: when the answer was made, or when a wait began.
    raft_index: X-Raft-Index.
    raft_term: X-Raft-Term.
    cluster_id: X-Etcd-Cluster-Id, in hexadecimal. Another one means another cluster, whose indexes do not compare.
    """

    action: str
    node: V2Node | None = None
    prev_node: V2Node | None = None
    index: int = 0
    raft_index: int = 0
    raft_term: int = 0
    cluster_id: str = ""

    @property
    def the_node(self) -> V2Node:
        """The node, where there must be one. Raises DecodeError where the answer carries none."""
        if self.node is None:
            raise DecodeError(f"the answer to a {self.action} carries no node")
        return self.node

    def as_dict(self) -> dict[str, Any]:
        """The body as the server sent it."""
        body: dict[str, Any] = {"action": self.action}
        if self.node is not None:
            body["node"] = self.node.as_dict()
        if self.prev_node is not None:
            body["prevNode"] = self.prev_node.as_dict()
        return body


@frozen(kw_only=True)
class V2Member:
    """A member of the cluster.

    id: In hexadecimal.
    name: Empty until the member has joined.
    """

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]


@frozen(kw_only=True)
class V2Version:
    """The version of the peer, and the one that the whole cluster speaks (empty while that is not agreed)."""

    server: str
    cluster: str


@frozen(kw_only=True)
class V2Health:
    """Whether a peer takes part in a working cluster, and the server's reason (3.5 and later) if not."""

    healthy: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.healthy


@frozen(kw_only=True)
class V2SelfStats:
    """What a member says of itself.

    state: `StateLeader`, `StateFollower` and so on.
    leader: The leader's ID in hexadecimal; empty without one.
    leader_uptime: As Go writes a duration, such as `1m28.5s`.
    receiving_bandwidth: Bytes per second, lately; likewise the three after it. 0 where the server told none.
    """

    name: str
    id: str
    state: str
    start_time: datetime
    leader: str
    leader_uptime: str
    leader_start_time: datetime
    append_requests_received: int
    append_requests_sent: int
    receiving_packages: float
    receiving_bandwidth: float
    sending_packages: float
    sending_bandwidth: float


@frozen(kw_only=True)
class V2FollowerStats:
    """How a follower answers the leader. Latencies are in milliseconds."""

    latency_current: float
    latency_average: float
    latency_standard_deviation: float
    latency_minimum: float
    latency_maximum: float
    successes: int
    failures: int


@frozen(kw_only=True)
class V2LeaderStats:
    """The leader's view of its followers, by their IDs in hexadecimal."""

    leader: str
    followers: dict[str, V2FollowerStats]


@frozen(kw_only=True)
class V2StoreStats:
    """Operations on the store since the member started, each member counting its own."""

    gets_success: int
    gets_fail: int
    sets_success: int
    sets_fail: int
    delete_success: int
    delete_fail: int
    update_success: int
    update_fail: int
    create_success: int
    create_fail: int
    compare_and_swap_success: int
    compare_and_swap_fail: int
    compare_and_delete_success: int
    compare_and_delete_fail: int
    expire_count: int
    watchers: int


@frozen(kw_only=True)
class V2Role:
    """A role, and the keys that it may read and write. A pattern ending in `*` covers all that begin so."""

    name: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


@frozen(kw_only=True)
class V2User:
    """A user, and the names of its roles."""

    name: str
    roles: tuple[str, ...] = ()
