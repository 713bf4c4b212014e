"""What AIStore answers about nodes, the cluster and its jobs, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import field, frozen

from aetcd.aistore._models import BucketInfo, dotted

__all__ = [
    "Capacity",
    "ClusterHealth",
    "ClusterMap",
    "ClusterStats",
    "ClusterSystem",
    "Disk",
    "JobProgress",
    "JobStats",
    "JobStatus",
    "Mountpaths",
    "NodeConfig",
    "NodeInfo",
    "NodeStats",
    "NodeStatus",
    "SystemInfo",
]

NON_ELECTABLE, IC_MEMBER, MAINTENANCE, DECOMMISSION = 1, 2, 4, 8


@frozen(kw_only=True)
class NodeInfo:
    """A gateway or a target, as the cluster map has it.

    kind: `gateway` or `target`.
    url: Where clients reach it.
    control_url, data_url: Its addresses inside the cluster; often the same.
    """

    id: str
    kind: str
    url: str
    control_url: str = ""
    data_url: str = ""
    flags: int = 0

    @property
    def electable(self) -> bool:
        """Whether it may become the primary."""
        return not self.flags & NON_ELECTABLE

    @property
    def in_maintenance(self) -> bool:
        """Whether it is out of service for the while."""
        return bool(self.flags & (MAINTENANCE | DECOMMISSION))


@frozen(kw_only=True)
class ClusterMap:
    """Who belongs to the cluster.

    version: Grows with every change.
    uuid: Of the cluster: another one is another cluster.
    primary: ID of the gateway that decides.
    """

    version: int
    uuid: str
    primary: str
    gateways: Mapping[str, NodeInfo]
    targets: Mapping[str, NodeInfo]
    created: str = ""

    @property
    def nodes(self) -> tuple[NodeInfo, ...]:
        """All of them, gateways first."""
        return (*self.gateways.values(), *self.targets.values())

    def node(self, id: str) -> NodeInfo | None:
        """The one of this ID, or None."""
        return self.gateways.get(id) or self.targets.get(id)


@frozen(kw_only=True)
class Capacity:
    """Bytes of one mountpath's file system."""

    used: int = 0
    available: int = 0
    percent_used: float = 0.0


@frozen(kw_only=True)
class NodeStats:
    """A node's counters and, for a target, its mountpaths.

    counters: By the server's names: `get.n`, `put.n`, `get.ns`, `err.get.n`, `reb.tx.size`, ...
    capacity: By mountpath. Mountpaths on one file system each count it whole.
    """

    counters: Mapping[str, int | float] = field(factory=dict)
    capacity: Mapping[str, Capacity] = field(factory=dict)

    @property
    def used(self) -> int:
        """Bytes used on all mountpaths."""
        return sum(capacity.used for capacity in self.capacity.values())

    @property
    def available(self) -> int:
        """Bytes free on all mountpaths."""
        return sum(capacity.available for capacity in self.capacity.values())


@frozen(kw_only=True)
class ClusterStats:
    """Counters of a gateway and of every target."""

    gateway: NodeStats
    targets: Mapping[str, NodeStats]

    @property
    def used(self) -> int:
        """Bytes used in the whole cluster."""
        return sum(target.used for target in self.targets.values())

    @property
    def available(self) -> int:
        """Bytes free in the whole cluster."""
        return sum(target.available for target in self.targets.values())

    def total(self, counter: str) -> int | float:
        """The sum of one counter over the targets: `stats.total("get.n")`."""
        return sum(target.counters.get(counter, 0) for target in self.targets.values())


@frozen(kw_only=True)
class SystemInfo:
    """Memory and processor of a node; file systems of a target only. Sizes are bytes."""

    memory_used: int = 0
    memory_available: int = 0
    memory_percent: float = 0.0
    cpu_percent: float = 0.0
    fs_used: int = 0
    fs_capacity: int = 0
    fs_percent: float = 0.0


@frozen(kw_only=True)
class ClusterSystem:
    """System information by node. The gateway that answers is not among the gateways: with one there are none."""

    gateways: Mapping[str, SystemInfo]
    targets: Mapping[str, SystemInfo]


@frozen(kw_only=True)
class Mountpaths:
    """A target's mountpaths. `waiting` are those on their way out, where today's server tells."""

    available: Sequence[str] = ()
    disabled: Sequence[str] = ()
    waiting: Sequence[str] = ()


@frozen(kw_only=True)
class Disk:
    """A target's disk: bytes a second, and how busy it is in per cent."""

    read: int = 0
    written: int = 0
    utilization: int = 0


@frozen(kw_only=True)
class JobStatus:
    """Whether a job runs.

    ended: When it ended on all targets; None while it runs.
    error: The server's text; empty without one.
    """

    id: str
    kind: str = ""
    ended: datetime | None = None
    aborted: bool = False
    error: str = ""

    @property
    def finished(self) -> bool:
        """Whether it ended, well or not."""
        return self.ended is not None or self.aborted


@frozen(kw_only=True)
class JobStats:
    """What a job has done on one target.

    extra: What its kind tells beyond that.
    """

    id: str
    kind: str
    target: str
    bucket: BucketInfo | None = None
    started: datetime | None = None
    ended: datetime | None = None
    objects: int = 0
    bytes: int = 0
    aborted: bool = False
    error: str = ""
    extra: Mapping[str, Any] = field(factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it ended on this target."""
        return self.ended is not None


@frozen(kw_only=True)
class JobProgress:
    """How far a job is, over all targets."""

    objects: int
    bytes: int
    running: int
    finished: bool
    aborted: bool


@frozen
class NodeConfig:
    """A node's configuration: `config["periodic.stats_time"]`, by the names that `set_config` takes.

    raw: The whole, as it stands in JSON. Sections differ by version, and between gateways and targets.
    """

    raw: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        """A value or a section by its dotted name, as the server wrote it. Raises KeyError."""
        return dotted(self.raw, name)


@frozen(kw_only=True)
class NodeStatus:
    """A node's state at one moment.

    map_version: Of the cluster map that it knows.
    version: Of its program, where today's server tells; else empty.
    rebalance: What it did in the last rebalance; None without one.
    """

    node: NodeInfo
    stats: NodeStats
    system: SystemInfo
    map_version: int = 0
    status: str = ""
    version: str = ""
    rebalance: JobStats | None = None


@frozen(kw_only=True)
class ClusterHealth:
    """What a gateway knows of the cluster. `voting` says that a primary is being elected."""

    uuid: str
    map_version: int
    buckets_version: int
    primary: str
    primary_url: str
    voting: bool
