"""AIStore, a cluster that stores objects: its whole REST API.

    from aetcd.aistore import AIStore

    async with AIStore("http://localhost:8080") as ais:
        bucket = ais.bucket("photos")
        await bucket.object("cat.jpg").put(b"...")
        async with bucket.object("cat.jpg").get() as reader:
            async for piece in reader: ...

It speaks both versions that matter, 3.3 and today's, and learns which by itself. Checksums of xxhash and CRC32C need
`pip install 'aetcd-http[aistore]'`.
"""

from __future__ import annotations

from aetcd._transport.timeouts import Timeout
from aetcd._transport.tls import TLS
from aetcd._transport.trace import Trace
from aetcd.aistore._append import Appender
from aetcd.aistore._authn import AuthN, ClusterRights, Permission, RegisteredCluster, Role, User
from aetcd.aistore._bucket import Bucket
from aetcd.aistore._client import AIStore
from aetcd.aistore._cluster import Cluster
from aetcd.aistore._download import Download, Downloads, DownloadStatus
from aetcd.aistore._errors import (
    AccessDenied,
    BadRequest,
    BucketExists,
    BucketNotFound,
    Busy,
    ChecksumMismatch,
    ForeignRedirect,
    JobAborted,
    JobFailed,
    JobNotFound,
    ListingIncomplete,
    MountpathExists,
    MountpathNotFound,
    NodeNotFound,
    NotFound,
    NotRemote,
    ObjectChanged,
    ObjectNotFound,
    RangeRefused,
    TokenRefused,
    Unavailable,
)
from aetcd.aistore._jobs import Job
from aetcd.aistore._listing import Listing
from aetcd.aistore._models import (
    BucketInfo,
    BucketProps,
    BucketSummary,
    Checksum,
    ChecksumProps,
    ECProps,
    Entry,
    LRUProps,
    ManyResult,
    MirrorProps,
    ObjectProps,
    Page,
    VersioningProps,
)
from aetcd.aistore._node import Node
from aetcd.aistore._node_models import (
    Capacity,
    ClusterHealth,
    ClusterMap,
    ClusterStats,
    ClusterSystem,
    Disk,
    JobProgress,
    JobStats,
    JobStatus,
    Mountpaths,
    NodeConfig,
    NodeInfo,
    NodeStats,
    NodeStatus,
    SystemInfo,
)
from aetcd.aistore._objects import Object
from aetcd.aistore._range import Range
from aetcd.aistore._reader import ObjectReader
from aetcd.errors import AIStoreError

__all__ = [
    "TLS",
    "AIStore",
    "AIStoreError",
    "AccessDenied",
    "Appender",
    "AuthN",
    "BadRequest",
    "Bucket",
    "BucketExists",
    "BucketInfo",
    "BucketNotFound",
    "BucketProps",
    "BucketSummary",
    "Busy",
    "Capacity",
    "Checksum",
    "ChecksumMismatch",
    "ChecksumProps",
    "Cluster",
    "ClusterHealth",
    "ClusterMap",
    "ClusterRights",
    "ClusterStats",
    "ClusterSystem",
    "Disk",
    "Download",
    "DownloadStatus",
    "Downloads",
    "ECProps",
    "Entry",
    "ForeignRedirect",
    "Job",
    "JobAborted",
    "JobFailed",
    "JobNotFound",
    "JobProgress",
    "JobStats",
    "JobStatus",
    "LRUProps",
    "Listing",
    "ListingIncomplete",
    "ManyResult",
    "MirrorProps",
    "MountpathExists",
    "MountpathNotFound",
    "Mountpaths",
    "Node",
    "NodeConfig",
    "NodeInfo",
    "NodeNotFound",
    "NodeStats",
    "NodeStatus",
    "NotFound",
    "NotRemote",
    "Object",
    "ObjectChanged",
    "ObjectNotFound",
    "ObjectProps",
    "ObjectReader",
    "Page",
    "Permission",
    "Range",
    "RangeRefused",
    "RegisteredCluster",
    "Role",
    "SystemInfo",
    "Timeout",
    "TokenRefused",
    "Trace",
    "Unavailable",
    "User",
    "VersioningProps",
]
