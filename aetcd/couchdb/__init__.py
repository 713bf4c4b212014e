"""CouchDB, whole: the server's endpoints, feeds of changes that lose nothing, databases and documents.

from aetcd.couchdb import NOW, CouchDB

async with CouchDB("http://127.0.0.1:5984", username="admin", password="...") as couch:
    async with couch.db_updates(since=NOW) as updates:
        async for update in updates:
            print(update.kind, update.name)
"""

from __future__ import annotations

from aetcd.couchdb._attachments import Attachment
from aetcd.couchdb._auth import JWTAuth, ProxyAuth, SessionAuth
from aetcd.couchdb._changes import Changes, DocumentChange
from aetcd.couchdb._client import CouchDB, Status
from aetcd.couchdb._crud import BulkFound, BulkResult
from aetcd.couchdb._database import Database, Members, Security
from aetcd.couchdb._documents import AttachmentInfo, Document, Revision, RevisionStatus, Saved, Stored
from aetcd.couchdb._endpoints import Endpoint
from aetcd.couchdb._errors import (
    AccountLocked,
    BadRequest,
    Conflict,
    DatabaseExists,
    DatabaseNotFound,
    DocumentNotFound,
    EndpointUnsupported,
    Forbidden,
    NodeDown,
    NodeNotFound,
    NotFound,
    ReplicationFailed,
    RequestRefused,
    ServerFailed,
    ServiceUnavailable,
    Throttled,
    TooLarge,
    Unauthorized,
    WrongPassword,
)
from aetcd.couchdb._feeds import Feed
from aetcd.couchdb._models import (
    AnalyzedText,
    DatabaseInfo,
    DatabaseNames,
    Membership,
    Seed,
    ServerInfo,
    ServerStatus,
    ServerVersions,
    SessionInfo,
    SetupState,
    Sizes,
    Up,
    Utils,
    Uuids,
    Vendor,
)
from aetcd.couchdb._node import Node
from aetcd.couchdb._replication import ReplicationHistory, ReplicationJob, ReplicationResult
from aetcd.couchdb._reshard import (
    Reshard,
    ReshardEvent,
    ReshardFailed,
    ReshardJob,
    ReshardJobState,
    ReshardResult,
    ReshardState,
    ReshardStatus,
    ReshardSummary,
    SplitState,
)
from aetcd.couchdb._rows import Mode
from aetcd.couchdb._rowsets import Found, Row, Rows
from aetcd.couchdb._scheduler import (
    ReplicationState,
    ReplicationStatus,
    Scheduled,
    Scheduler,
    SchedulerEvent,
    SchedulerJob,
)
from aetcd.couchdb._setup import ClusterSetup
from aetcd.couchdb._source import NOW, Since
from aetcd.couchdb._stats import Counter, Gauge, Histogram, Statistic, Statistics, SystemStats
from aetcd.couchdb._tasks import ActiveTask, CompactionTask, IndexerTask, ReplicationTask
from aetcd.couchdb._updates import DatabaseEvent, DatabaseEventKind, DatabaseUpdates
from aetcd.couchdb._views import CreatedIndex, Index
from aetcd.couchdb._waiting import States

__all__ = [
    "NOW",
    "AccountLocked",
    "ActiveTask",
    "AnalyzedText",
    "Attachment",
    "AttachmentInfo",
    "BadRequest",
    "BulkFound",
    "BulkResult",
    "Changes",
    "ClusterSetup",
    "CompactionTask",
    "Conflict",
    "CouchDB",
    "Counter",
    "CreatedIndex",
    "Database",
    "DatabaseEvent",
    "DatabaseEventKind",
    "DatabaseExists",
    "DatabaseInfo",
    "DatabaseNames",
    "DatabaseNotFound",
    "DatabaseUpdates",
    "Document",
    "DocumentChange",
    "DocumentNotFound",
    "Endpoint",
    "EndpointUnsupported",
    "Feed",
    "Forbidden",
    "Found",
    "Gauge",
    "Histogram",
    "Index",
    "IndexerTask",
    "JWTAuth",
    "Members",
    "Membership",
    "Mode",
    "Node",
    "NodeDown",
    "NodeNotFound",
    "NotFound",
    "ProxyAuth",
    "ReplicationFailed",
    "ReplicationHistory",
    "ReplicationJob",
    "ReplicationResult",
    "ReplicationState",
    "ReplicationStatus",
    "ReplicationTask",
    "RequestRefused",
    "Reshard",
    "ReshardEvent",
    "ReshardFailed",
    "ReshardJob",
    "ReshardJobState",
    "ReshardResult",
    "ReshardState",
    "ReshardStatus",
    "ReshardSummary",
    "Revision",
    "RevisionStatus",
    "Row",
    "Rows",
    "Saved",
    "Scheduled",
    "Scheduler",
    "SchedulerEvent",
    "SchedulerJob",
    "Security",
    "Seed",
    "ServerFailed",
    "ServerInfo",
    "ServerStatus",
    "ServerVersions",
    "ServiceUnavailable",
    "SessionAuth",
    "SessionInfo",
    "SetupState",
    "Since",
    "Sizes",
    "SplitState",
    "States",
    "Statistic",
    "Statistics",
    "Status",
    "Stored",
    "SystemStats",
    "Throttled",
    "TooLarge",
    "Unauthorized",
    "Up",
    "Utils",
    "Uuids",
    "Vendor",
    "WrongPassword",
]
