"""The server's JSON about nodes, the cluster map and jobs, and the values made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aetcd._wire.decode import decode
from aetcd.aistore._codec import read_time
from aetcd.aistore._node_models import (
    Capacity,
    ClusterHealth,
    ClusterMap,
    ClusterStats,
    ClusterSystem,
    Disk,
    JobStats,
    JobStatus,
    Mountpaths,
    NodeInfo,
    NodeStats,
    NodeStatus,
    SystemInfo,
)
from aetcd.aistore._shapes import BucketShape, convert, parse_time

__all__ = [
    "read_all_mountpaths",
    "read_cluster_stats",
    "read_cluster_system",
    "read_disks",
    "read_health",
    "read_job_stats",
    "read_job_status",
    "read_map",
    "read_mountpaths",
    "read_node",
    "read_node_stats",
    "read_node_status",
    "read_system",
]


class _Net(msgspec.Struct):
    direct_url: str = ""


class _Node(msgspec.Struct):
    daemon_id: str = ""
    daemon_type: str = ""
    public_net: _Net = msgspec.field(default_factory=_Net)
    intra_control_net: _Net = msgspec.field(default_factory=_Net)
    intra_data_net: _Net = msgspec.field(default_factory=_Net)
    flags: int = 0

    def read(self) -> NodeInfo:
        return NodeInfo(
            id=self.daemon_id,
            kind="gateway" if self.daemon_type == "proxy" else self.daemon_type,
            url=self.public_net.direct_url,
            control_url=self.intra_control_net.direct_url,
            data_url=self.intra_data_net.direct_url,
            flags=self.flags,
        )


class _Map(msgspec.Struct):
    tmap: dict[str, _Node] | None = None
    pmap: dict[str, _Node] | None = None
    proxy_si: _Node | None = None
    version: int = 0
    uuid: str = ""
    creation_time: str = ""


class _Mountpath(msgspec.Struct):
    used: int = 0
    avail: int = 0
    pct_used: float = 0


class JobShape(msgspec.Struct):
    id: str = ""
    kind: str = ""
    bck: BucketShape = msgspec.field(default_factory=BucketShape)
    start_time: str = ""
    end_time: str = ""
    obj_count: int = 0
    bytes_count: int = 0
    aborted: bool = False
    err: str = ""
    ext: dict[str, Any] | None = None
    start: str = msgspec.field(default="", name="start-time")
    end: str = msgspec.field(default="", name="end-time")
    abort_err: str = msgspec.field(default="", name="abort-err")
    stats: dict[str, int] | None = None

    def read(self, target: str) -> JobStats:
        counts = self.stats or {}
        return JobStats(
            id=self.id,
            kind=self.kind,
            target=target,
            bucket=self.bck.read() if self.bck.name else None,
            started=parse_time(self.start_time or self.start),
            ended=parse_time(self.end_time or self.end),
            objects=self.obj_count or counts.get("loc-objs", 0),
            bytes=self.bytes_count or counts.get("loc-bytes", 0),
            aborted=self.aborted,
            error=self.err or self.abort_err,
            extra=self.ext or {},
        )


class _JobStatus(msgspec.Struct):
    uuid: str = ""
    kind: str = ""
    err: str = ""
    end_time: int = 0
    aborted: bool = False


class _System(msgspec.Struct):
    mem_used: int = 0
    mem_avail: int = 0
    pct_mem_used: float = 0
    pct_cpu_used: float = 0
    fs_used: int = 0
    fs_capacity: int = 0
    pct_fs_used: float = 0

    def read(self) -> SystemInfo:
        return SystemInfo(
            memory_used=self.mem_used,
            memory_available=self.mem_avail,
            memory_percent=self.pct_mem_used,
            cpu_percent=self.pct_cpu_used,
            fs_used=self.fs_used,
            fs_capacity=self.fs_capacity,
            fs_percent=self.pct_fs_used,
        )


class _TargetStatus(msgspec.Struct):
    rebalance_stats: JobShape | None = None


class _Status(msgspec.Struct):
    snode: _Node = msgspec.field(default_factory=_Node)
    daemon_stats: dict[str, int | float] | None = None
    tracker: dict[str, int | float] | None = None
    capacity: dict[str, Any] | None = None
    sys_info: _System | None = None
    smap_version: int = 0
    status: str = ""
    ais_version: str = ""
    target_status: _TargetStatus | None = None
    rebalance_snap: JobShape | None = None


class _ClusterStats(msgspec.Struct):
    proxy: dict[str, int | float] | None = None
    target: dict[str, dict[str, Any]] | None = None


class _ClusterSystem(msgspec.Struct):
    proxy: dict[str, _System] | None = None
    target: dict[str, _System] | None = None


class _Mountpaths(msgspec.Struct):
    available: tuple[str, ...] | None = None
    disabled: tuple[str, ...] | None = None
    waiting_dd: tuple[str, ...] | None = None

    def read(self) -> Mountpaths:
        return Mountpaths(available=self.available or (), disabled=self.disabled or (), waiting=self.waiting_dd or ())


class _AllMountpaths(msgspec.Struct):
    targets: dict[str, _Mountpaths] | None = None


class _Disk(msgspec.Struct):
    read: int = msgspec.field(default=0, name="RBps")
    written: int = msgspec.field(default=0, name="WBps")
    utilization: int = msgspec.field(default=0, name="Util")


class _Versioned(msgspec.Struct):
    version: int = 0
    uuid: str = ""


class _Primary(msgspec.Struct):
    pub_url: str = ""
    id: str = ""


class _MapHealth(_Versioned):
    primary: _Primary = msgspec.field(default_factory=_Primary, name="Primary")
    vote_in_progress: bool = False


class _Health(msgspec.Struct):
    bmd: _Versioned = msgspec.field(default_factory=_Versioned)
    smap: _MapHealth = msgspec.field(default_factory=_MapHealth)


def read_map(body: bytes) -> ClusterMap:
    """The cluster map."""
    wire = decode(body, _Map)
    return ClusterMap(
        version=wire.version,
        uuid=wire.uuid,
        primary=wire.proxy_si.daemon_id if wire.proxy_si else "",
        gateways={name: node.read() for name, node in (wire.pmap or {}).items()},
        targets={name: node.read() for name, node in (wire.tmap or {}).items()},
        created=wire.creation_time,
    )


def read_node(body: bytes) -> NodeInfo:
    """A node's own entry in the map."""
    return decode(body, _Node).read()


def _capacity(wire: Mapping[str, Any] | None) -> dict[str, Capacity]:
    paths = wire or {}
    if "mountpaths" in paths:  # today's server
        paths = paths["mountpaths"] or {}
    found = convert(dict(paths), dict[str, _Mountpath])
    return {
        path: Capacity(used=space.used, available=space.avail, percent_used=space.pct_used)
        for path, space in found.items()
    }


def read_node_stats(body: bytes) -> NodeStats:
    """Counters: bare ones of a 3.3 gateway, `core` and `capacity` of its target, `tracker` of today's nodes."""
    return _stats(decode(body, dict[str, Any]))


def _stats(wire: Mapping[str, Any]) -> NodeStats:
    for nested in ("core", "tracker", "daemon_stats"):
        if nested in wire:
            counters = wire[nested] or {}
            return NodeStats(counters=_numbers(counters), capacity=_capacity(wire.get("capacity")))
    return NodeStats(counters=_numbers(wire))


def _numbers(counters: Mapping[str, Any]) -> dict[str, int | float]:
    return convert(dict(counters), dict[str, int | float])


def read_node_status(body: bytes) -> NodeStatus:
    """A node's state at one moment."""
    wire = decode(body, _Status)
    node = wire.snode.read()
    job = wire.rebalance_snap or (wire.target_status.rebalance_stats if wire.target_status else None)
    return NodeStatus(
        node=node,
        stats=NodeStats(counters=wire.daemon_stats or wire.tracker or {}, capacity=_capacity(wire.capacity)),
        system=(wire.sys_info or _System()).read(),
        map_version=wire.smap_version,
        status=wire.status,
        version=wire.ais_version,
        rebalance=job.read(node.id) if job is not None and job.id else None,
    )


def read_cluster_stats(body: bytes) -> ClusterStats:
    """The counters of one gateway and all targets (3.3)."""
    wire = decode(body, _ClusterStats)
    return ClusterStats(
        gateway=NodeStats(counters=wire.proxy or {}),
        targets={name: _stats(target) for name, target in (wire.target or {}).items()},
    )


def read_system(body: bytes) -> SystemInfo:
    """A node's memory, processor and file systems."""
    return decode(body, _System).read()


def read_cluster_system(body: bytes) -> ClusterSystem:
    """The same of many nodes."""
    wire = decode(body, _ClusterSystem)
    gateways, targets = (
        {name: node.read() for name, node in (nodes or {}).items()} for nodes in (wire.proxy, wire.target)
    )
    return ClusterSystem(gateways=gateways, targets=targets)


def read_mountpaths(body: bytes) -> Mountpaths:
    """A target's mountpaths."""
    return decode(body, _Mountpaths).read()


def read_all_mountpaths(body: bytes) -> dict[str, Mountpaths]:
    """Those of every target."""
    return {name: paths.read() for name, paths in (decode(body, _AllMountpaths).targets or {}).items()}


def read_disks(body: bytes) -> dict[str, Disk]:
    """A target's disks by name."""
    found = decode(body, dict[str, _Disk])
    return {
        name: Disk(read=disk.read, written=disk.written, utilization=disk.utilization) for name, disk in found.items()
    }


def read_health(body: bytes) -> ClusterHealth:
    """What a gateway knows of the cluster."""
    wire = decode(body, _Health)
    return ClusterHealth(
        uuid=wire.smap.uuid,
        map_version=wire.smap.version,
        buckets_version=wire.bmd.version,
        primary=wire.smap.primary.id,
        primary_url=wire.smap.primary.pub_url,
        voting=wire.smap.vote_in_progress,
    )


def read_job_status(body: bytes) -> JobStatus:
    """Whether a job runs."""
    wire = decode(body, _JobStatus)
    return JobStatus(id=wire.uuid, kind=wire.kind, ended=read_time(wire.end_time), aborted=wire.aborted, error=wire.err)


def read_job_stats(body: bytes) -> list[JobStats]:
    """What jobs did, one entry for each target and job."""
    found = decode(body, dict[str, list[JobShape] | None])
    return [job.read(target) for target, jobs in found.items() for job in jobs or []]
