"""The replication scheduler: what it runs, and what became of each document that asks for a replication."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen

from aetcd.couchdb._arguments import check_database, check_flag, check_id, check_list, check_text, name_path
from aetcd.couchdb._codec import decode, instant, make, read
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._models import OpenEnum
from aetcd.couchdb._paging import PAGE, Paged

__all__ = [
    "ReplicationState",
    "ReplicationStatus",
    "Scheduled",
    "Scheduler",
    "SchedulerEvent",
    "SchedulerJob",
    "check_replicator",
]

T = TypeVar("T")


class ReplicationState(OpenEnum):
    """How a replication stands."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    PENDING = "pending"
    """It waits for its turn."""
    CRASHING = "crashing"
    """It failed, and is tried again after a pause that grows."""
    ERROR = "error"
    """It could not be begun, and is tried again: its filter could not be read, for one."""
    COMPLETED = "completed"
    FAILED = "failed"
    """It cannot work: the document is wrong, or another one asks for the same."""

    @property
    def is_final(self) -> bool:
        """Nothing comes after it by itself."""
        return self in {ReplicationState.COMPLETED, ReplicationState.FAILED}


@frozen(kw_only=True)
class SchedulerEvent:
    """Something that happened to a job: `added`, `started`, `stopped`, `crashed` with a reason."""

    type: str
    timestamp: datetime | None = field(default=None, metadata=instant("timestamp"))
    reason: str | None = None


@frozen(kw_only=True)
class SchedulerJob:
    """A replication that the scheduler runs, or will.

    id: The replication's.
    database, doc_id: Of the document that asked for it; None of one by `replicate()`.
    pid: None while it waits for its turn, or for the end of a pause after a crash.
    node: Erlang name of the node that it belongs to.
    history: The latest first.
    info: Its progress; None before it has made any.
    """

    id: str
    source: str = ""
    target: str = ""
    database: str | None = None
    doc_id: str | None = None
    pid: str | None = None
    node: str | None = None
    user: str | None = None
    start_time: datetime | None = field(default=None, metadata=instant("start_time"))
    info: dict[str, Any] | str | None = None
    history: tuple[SchedulerEvent, ...] = ()
    extra: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class ReplicationStatus:
    """What became of one document that asks for a replication.

    id: The replication's; None once it has ended, and before it is known.
    error_count: Crashes in a row.
    last_updated: Of the state. (The reference calls it `last_update` in two of three places; 3.5.0 sends
        `last_updated`.)
    info: Progress, or `{"error": ...}`; text before 3.0; None before there is any.
    """

    state: ReplicationState
    doc_id: str | None = None
    database: str | None = None
    id: str | None = None
    source: str = ""
    target: str = ""
    node: str | None = None
    error_count: int = 0
    start_time: datetime | None = field(default=None, metadata=instant("start_time"))
    last_updated: datetime | None = field(default=None, metadata=instant("last_updated", "last_update"))
    info: dict[str, Any] | str | None = None
    source_proxy: str | None = None
    target_proxy: str | None = None
    extra: dict[str, Any] = field(factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.state.is_final

    @property
    def error(self) -> str | None:
        """Why it does not get on; None where it does."""
        if isinstance(self.info, dict):
            found = self.info.get("error")
            return None if found is None else str(found)
        return self.info

    @property
    def docs_read(self) -> int:
        """Documents read from the source."""
        return self._count("docs_read") or 0

    @property
    def docs_written(self) -> int:
        """Documents written to the target."""
        return self._count("docs_written") or 0

    @property
    def doc_write_failures(self) -> int:
        """Documents that the target refused, by a validation function mostly. It completes all the same."""
        return self._count("doc_write_failures") or 0

    @property
    def changes_pending(self) -> int | None:
        """Changes of the source that are still to be looked at; None where it is not known."""
        return self._count("changes_pending")

    def _count(self, name: str) -> int | None:
        found = self.info.get(name) if isinstance(self.info, dict) else None
        return found if isinstance(found, int) else None


class Scheduled(Paged[T], Generic[T]):
    """Jobs or documents of the scheduler, page by page.

    total_rows: Of all, as the last page told it; None before the first.

    They are counted, not keyed: what comes or goes between two pages may be told twice or not at all.
    """

    def __init__(
        self,
        link: Link,
        operation: str,
        path: str,
        options: Mapping[str, object],
        *,
        rows: str,
        read: Callable[[dict[str, Any]], T],
        page: int,
        limit: int | None,
        skip: int,
        timeout: Limit,
    ) -> None:
        super().__init__(page=page, limit=limit, skip=skip)
        self._link, self._operation, self._path, self._options = link, operation, path, options
        self._name, self._reader, self._timeout = rows, read, timeout
        self.total_rows: int | None = None

    async def _fetch(self, size: int) -> tuple[Sequence[T], bool]:
        query = {**self._options, "limit": size, "skip": self._skip or None}
        request = make(self._operation, "GET", self._path, query=query)
        answer = await self._link.ask(request, timeout=self._timeout, needs="2.1")
        raw = decode(request, answer, dict[str, Any])
        rows = [self._reader(row) for row in raw[self._name]]
        self.total_rows = raw.get("total_rows")
        self._skip += len(rows)
        return rows, len(rows) == size


@define(eq=False)
class Scheduler:
    """The replication scheduler: `/_scheduler` (reference, 1.2.9 and 1.2.10; since 2.1). `couch.scheduler`.

    Calls raise Unauthorized where the user is no administrator.
    """

    _link: Link = field(alias="link")

    def jobs(
        self, *, limit: int | None = None, skip: int = 0, page: int = PAGE, timeout: Limit = None
    ) -> Scheduled[SchedulerJob]:
        """What it runs, in the order of their ids, as an async iterator: `GET /_scheduler/jobs`.

        A replication that has completed, or was refused, is not here.
        """
        return Scheduled(
            self._link,
            "scheduler jobs",
            "/_scheduler/jobs",
            {},
            rows="jobs",
            read=_job,
            page=page,
            limit=limit,
            skip=skip,
            timeout=timeout,
        )

    async def job(self, id: str, *, timeout: Limit = None) -> SchedulerJob:
        """One of them, by the replication's id: `GET /_scheduler/jobs/{id}`, which is not in the reference.

        Raises NotFound where it is not there: it has ended, was cancelled, or never was.
        """
        request = make("scheduler job", "GET", name_path("_scheduler", "jobs", check_text(id, "id")))
        answer = await self._link.ask(request, timeout=timeout, needs="2.1")
        return _job(decode(request, answer, dict[str, Any]))

    def docs(
        self,
        replicator: str | None = None,
        *,
        states: Iterable[str] | None = None,
        descending: bool = False,
        limit: int | None = None,
        skip: int = 0,
        page: int = PAGE,
        timeout: Limit = None,
    ) -> Scheduled[ReplicationStatus]:
        """Documents that ask for replications, whatever their state, in the order of their ids, as an async iterator:
        `GET /_scheduler/docs` and `GET /_scheduler/docs/{replicator}`.

        replicator: A replicator database: `_replicator`, or one whose name ends in `/_replicator`, sent as `%2f`. By
            default it is `_replicator` (measured on 3.5.0; the reference says all documents).
        states: Only those in these states. Not in the reference; `total_rows` counts all the same (measured).
        descending: The last id first. Not in the reference.

        Iterating raises DatabaseNotFound where there is no such replicator database.
        """
        path = "/_scheduler/docs" if replicator is None else _docs_path(replicator)
        wanted = None if states is None else ",".join(_states(states))
        options = {"states": wanted, "descending": check_flag(descending, "descending") or None}
        return Scheduled(
            self._link,
            "scheduler docs",
            path,
            options,
            rows="docs",
            read=_status,
            page=page,
            limit=limit,
            skip=skip,
            timeout=timeout,
        )

    async def doc(self, id: str, *, replicator: str = "_replicator", timeout: Limit = None) -> ReplicationStatus:
        """One of them: `GET /_scheduler/docs/{replicator}/{id}`.

        Raises NotFound where there is no such document, and in the moment before the scheduler has seen a new one.
        """
        path = _docs_path(replicator) + name_path(check_id(id))
        request = make("scheduler doc", "GET", path)
        answer = await self._link.ask(request, timeout=timeout, needs="2.1")
        return _status(decode(request, answer, dict[str, Any]))


def check_replicator(name: object, argument: str = "replicator") -> str:
    """The name of a replicator database. For another one the server answers 400 `Invalid path`."""
    text = check_database(name, argument)
    if text != "_replicator" and not text.endswith("/_replicator"):
        raise ValueError(f"{argument}: {text!r} is no replicator database: their names end in /_replicator")
    return text


def _docs_path(replicator: str) -> str:
    return name_path("_scheduler", "docs", check_replicator(replicator))


def _states(states: Iterable[str]) -> list[str]:
    known = set(ReplicationState)
    listed = [str(state) for state in check_list(states, "states")]
    for state in listed:
        if state not in known:
            raise ValueError(f"states: {state!r} is none of {', '.join(sorted(known))}")
    return listed


def _job(raw: dict[str, Any]) -> SchedulerJob:
    return read(SchedulerJob, raw, history=[read(SchedulerEvent, event) for event in raw.get("history") or ()])


def _status(raw: dict[str, Any]) -> ReplicationStatus:
    return read(ReplicationStatus, raw)
