"""What the server tells of itself and of its databases, as values."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Self

from attrs import field, frozen

from aetcd.couchdb._codec import instant, renamed

__all__ = [
    "AnalyzedText",
    "DatabaseInfo",
    "DatabaseNames",
    "Membership",
    "OpenEnum",
    "Seed",
    "ServerInfo",
    "ServerStatus",
    "ServerVersions",
    "SessionInfo",
    "SetupState",
    "Sizes",
    "Up",
    "Utils",
    "Uuids",
    "Vendor",
]


class OpenEnum(enum.StrEnum):
    """Words of the server, of which newer versions may know more: those are kept as they are."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value.upper()
        member._value_ = value
        return member

    def __hash__(self) -> int:
        # As the word that it is equal to, and not as its name.
        return hash(self.value)


@frozen(kw_only=True)
class Vendor:
    """Who made the server."""

    name: str = ""
    version: str | None = None


@frozen(kw_only=True)
class ServerInfo:
    """What the root tells.

    uuid: The node's own; `/_node/{name}` tells it too.
    git_sha, features: Not in the reference; sent since 2.0 and 2.1.
    """

    version: str
    couchdb: str = ""
    uuid: str | None = None
    git_sha: str | None = None
    features: tuple[str, ...] = ()
    vendor: Vendor = field(factory=Vendor)


class ServerStatus(OpenEnum):
    """Whether a node is there for requests."""

    OK = "ok"
    MAINTENANCE_MODE = "maintenance_mode"
    """Set by `couchdb/maintenance_mode = true`: it takes no part in the cluster's reads and writes."""
    NOLB = "nolb"
    """Set by `couchdb/maintenance_mode = nolb`: load balancers shall leave it alone; it works otherwise."""
    SEEDING = "seeding"
    """It has not yet heard of the cluster from the nodes of its seed list."""


@frozen(kw_only=True)
class Seed:
    """What a node has heard from one node of its seed list. (Servers with a seed list were not recorded.)

    status: `pending`, `ok`, or what went wrong.
    timestamp: When it was asked last; None before.
    """

    status: str = field(default="", metadata=renamed("last_replication_status"))
    timestamp: datetime | None = field(default=None, metadata=instant("timestamp"))
    extra: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Up:
    """A node's health.

    peer: URL of the node that answered.
    seeds: Its seed list, by Erlang names; empty without one. Not in the reference.
    """

    status: ServerStatus
    peer: str
    seeds: dict[str, Seed] = field(factory=dict)

    @property
    def ok(self) -> bool:
        """It serves."""
        return self.status is ServerStatus.OK


@frozen(kw_only=True)
class Membership:
    """Nodes, by their Erlang names (`couchdb@10.0.0.1`). They are no URLs: where a node serves HTTP is not told.

    all_nodes: Those that this node is connected to.
    cluster_nodes: Those that belong to the cluster. One that is not among `all_nodes` is down.
    """

    all_nodes: tuple[str, ...]
    cluster_nodes: tuple[str, ...]

    @property
    def down(self) -> tuple[str, ...]:
        """Nodes of the cluster that this node does not reach."""
        return tuple(node for node in self.cluster_nodes if node not in self.all_nodes)


@frozen(kw_only=True)
class Sizes:
    """Of a database, in bytes.

    file: On disk. active: Of what is live in it; the rest is freed by compaction. external: Uncompressed.
    """

    file: int = 0
    external: int = 0
    active: int = 0


@frozen(kw_only=True)
class DatabaseInfo:
    """One database.

    update_seq: Where its changes feed stands. Opaque.
    started: When it was created, from `instance_start_time`; None on servers before 3, which tell nothing.
    cluster: How it is kept: `q` shards, `n` copies, `w` and `r` of which make a quorum.
    compact_running: A compaction is under way.
    """

    name: str = field(metadata=renamed("db_name"))
    doc_count: int = 0
    deleted_count: int = field(default=0, metadata=renamed("doc_del_count"))
    update_seq: str | int = ""
    purge_seq: str | int = ""
    sizes: Sizes = field(factory=Sizes)
    compact_running: bool = False
    disk_format_version: int = 0
    started: datetime | None = field(default=None, metadata=instant("instance_start_time"))
    cluster: dict[str, int] = field(factory=dict)
    props: dict[str, Any] = field(factory=dict)
    extra: dict[str, Any] = field(factory=dict)

    @property
    def partitioned(self) -> bool:
        """Documents carry the name of their partition in their id."""
        return bool(self.props.get("partitioned"))


class SetupState(enum.Enum):
    """How far a node or a cluster is set up."""

    CLUSTER_DISABLED = "cluster_disabled"
    SINGLE_NODE_DISABLED = "single_node_disabled"
    SINGLE_NODE_ENABLED = "single_node_enabled"
    CLUSTER_ENABLED = "cluster_enabled"
    CLUSTER_FINISHED = "cluster_finished"

    @property
    def ready(self) -> bool:
        """There is nothing left to be set up."""
        return self in {SetupState.SINGLE_NODE_ENABLED, SetupState.CLUSTER_FINISHED}


@frozen(kw_only=True)
class SessionInfo:
    """Who the server takes the client for.

    name: None of nobody in particular.
    authenticated: How it knows: `cookie`, `default` (basic), `proxy`, `jwt`; None of nobody.
    handlers: What it would take.
    """

    name: str | None
    roles: tuple[str, ...] = ()
    authenticated: str | None = None
    handlers: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        """It may do everything."""
        return "_admin" in self.roles


@frozen(kw_only=True)
class AnalyzedText:
    """A text as a search analyzer cuts it."""

    tokens: tuple[str, ...]


@frozen(kw_only=True)
class Utils:
    """Where the administration interface is.

    status: HTTP status of its page.
    url: Where that is, after the redirect that the server answers `/_utils` with.
    """

    status: int
    url: str


@frozen(kw_only=True)
class ServerVersions:
    """What a node is built from. Each is as the server writes it."""

    erlang: dict[str, Any] = field(factory=dict)
    javascript_engine: dict[str, Any] = field(factory=dict)
    collation_driver: dict[str, Any] = field(factory=dict)
    extra: dict[str, Any] = field(factory=dict)


class _Listed(list[str]):
    """A list that knows the ETag of the answer that it came with."""

    def __init__(self, names: list[str], etag: str | None = None) -> None:
        super().__init__(names)
        self.etag = etag


class DatabaseNames(_Listed):
    """Names of databases, in order. etag: The same as long as they are the same."""


class Uuids(_Listed):
    """Fresh UUIDs. etag: Of this answer."""
