"""What happens to databases: the events of `_db_updates`."""

from __future__ import annotations

from attrs import frozen

from aetcd._wire.message import Request
from aetcd.couchdb._codec import make
from aetcd.couchdb._feeds import Feed
from aetcd.couchdb._models import OpenEnum
from aetcd.couchdb._rows import WireRow
from aetcd.couchdb._source import Query, Source
from aetcd.couchdb._times import milliseconds

__all__ = ["UPDATES", "DatabaseEvent", "DatabaseEventKind", "DatabaseUpdates", "feed_options"]


class DatabaseEventKind(OpenEnum):
    """What happened to a database."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@frozen(kw_only=True)
class DatabaseEvent:
    """Something happened to a database: once, or several times since the last event of this kind.

    name: The database's. `_dbs`, the cluster's own list of databases, and `_users` occur too.
    seq: The cursor behind this event. Opaque: events do not come in the order of its number.
    """

    name: str
    kind: DatabaseEventKind
    seq: str


DatabaseUpdates = Feed[DatabaseEvent]


def feed_options(query: Query) -> dict[str, object]:
    """What every feed understands, in the server's units (milliseconds, where the reference says seconds)."""
    return {
        "feed": None if query.mode == "normal" else query.mode,
        "since": query.since,
        "heartbeat": None if query.heartbeat is None else milliseconds(query.heartbeat),
        "timeout": None if query.timeout is None else milliseconds(query.timeout),
        "limit": query.limit,
    }


def _request(query: Query) -> Request:
    return make("db updates", "GET", "/_db_updates", query=feed_options(query))


def _read(row: WireRow, seq: str) -> DatabaseEvent:
    # In eventsource a row is shown as the document of `_global_changes` that it is.
    kind, _, name = (row.id or "").partition(":")
    return DatabaseEvent(name=row.db_name or name, kind=DatabaseEventKind(row.type or kind), seq=seq)


UPDATES: Source[DatabaseEvent] = Source(name="db updates", request=_request, read=_read, eventsource=False, needs="1.4")
