"""Resharding: splitting the shards of a database."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from attrs import define, field, frozen

from aetcd._wire.message import Effect
from aetcd.couchdb._arguments import check_database, check_either, check_text, name_path
from aetcd.couchdb._codec import decode, instant, make, read, renamed
from aetcd.couchdb._errors import NotFound, RequestRefused, refusal
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._models import OpenEnum
from aetcd.couchdb._waiting import States

__all__ = [
    "Reshard",
    "ReshardEvent",
    "ReshardFailed",
    "ReshardJob",
    "ReshardJobState",
    "ReshardResult",
    "ReshardState",
    "ReshardStatus",
    "ReshardSummary",
    "SplitState",
]

_RANGE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}")
_SHARD = re.compile(r"shards/[0-9a-f]{8}-[0-9a-f]{8}/.+\.[0-9]+")


class ReshardFailed(RequestRefused):
    """A job of resharding failed for good.

    status: 0, for it was read from a good answer.
    """


class ReshardJobState(OpenEnum):
    """How a job stands."""

    NEW = "new"
    RUNNING = "running"
    STOPPED = "stopped"
    """It goes on when it, or resharding as a whole, is set to run."""
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Nothing comes after it by itself."""
        return self in {ReshardJobState.COMPLETED, ReshardJobState.FAILED}


class SplitState(OpenEnum):
    """How far a split is: the eleven steps, in their order."""

    NEW = "new"
    INITIAL_COPY = "initial_copy"
    TOPOFF1 = "topoff1"
    BUILD_INDICES = "build_indices"
    TOPOFF2 = "topoff2"
    COPY_LOCAL_DOCS = "copy_local_docs"
    UPDATE_SHARDMAP = "update_shardmap"
    WAIT_SOURCE_CLOSE = "wait_source_close"
    TOPOFF3 = "topoff3"
    SOURCE_DELETE = "source_delete"
    COMPLETED = "completed"

    @property
    def is_final(self) -> bool:
        """There is no further step."""
        return self is SplitState.COMPLETED

    @property
    def progress(self) -> float:
        """Steps that are done, from 0.0 to 1.0; steps take very different times. 0.0 of one that is not known."""
        steps = list(SplitState)
        return steps.index(self) / (len(steps) - 1) if self in steps else 0.0


class ReshardState(OpenEnum):
    """Whether resharding runs on the cluster."""

    RUNNING = "running"
    STOPPED = "stopped"


@frozen(kw_only=True)
class ReshardSummary:
    """How many jobs there are, and whether they run.

    reason: Why it is stopped, as who stopped it wrote. (`state_reason` here, `reason` elsewhere: measured on 3.5.0.)
    """

    state: ReshardState
    reason: str | None = field(default=None, metadata=renamed("state_reason", "reason"))
    completed: int = 0
    failed: int = 0
    running: int = 0
    stopped: int = 0
    total: int = 0


@frozen(kw_only=True)
class ReshardEvent:
    """A step in a job's history."""

    type: str
    detail: str | None = None
    timestamp: datetime | None = field(default=None, metadata=instant("timestamp"))


@frozen(kw_only=True)
class ReshardStatus:
    """One job, as it stands.

    source, targets: Paths of the shard that is split, and of what comes of it.
    start_time: None of a job that has not begun (the server writes 1970, measured on 3.5.0).
    """

    id: str
    state: ReshardJobState = field(metadata=renamed("job_state"))
    split_state: SplitState = SplitState.NEW
    type: str = "split"
    source: str = ""
    targets: tuple[str, ...] = field(default=(), metadata=renamed("target"))
    node: str | None = None
    start_time: datetime | None = field(default=None, metadata=instant("start_time"))
    update_time: datetime | None = field(default=None, metadata=instant("update_time"))
    state_info: dict[str, Any] = field(factory=dict)
    history: tuple[ReshardEvent, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.state.is_final

    @property
    def progress(self) -> float:
        """Steps that are done, from 0.0 to 1.0."""
        return self.split_state.progress

    @property
    def reason(self) -> str | None:
        """Why it stands as it does, where it was told."""
        found = self.state_info.get("reason")
        return None if found is None else str(found)


@frozen(kw_only=True)
class ReshardResult:
    """What became of the wish to split one copy of one shard.

    job: Follows it; None where it was refused.
    error: Why: `job_already_exists` and others.
    """

    node: str | None = None
    shard: str | None = None
    id: str | None = None
    job: ReshardJob | None = field(default=None, repr=False)
    error: str | None = None

    @property
    def ok(self) -> bool:
        """There is a job."""
        return self.job is not None


class ReshardJob:
    """One job of resharding."""

    def __init__(self, link: Link, id: str) -> None:
        self._link = link
        self.id = check_text(id, "id")
        self._path = name_path("_reshard", "jobs", self.id)

    def __repr__(self) -> str:
        return f"<ReshardJob {self.id}>"

    async def status(self, *, timeout: Limit = None) -> ReshardStatus:
        """All of it: `GET /_reshard/jobs/{id}`. Raises NotFound where it was removed."""
        request = make("reshard job", "GET", self._path)
        answer = await self._link.ask(request, timeout=timeout, needs="2.4")
        return _status(decode(request, answer, dict[str, Any]))

    async def state(self, *, timeout: Limit = None) -> tuple[ReshardJobState, str | None]:
        """Its state, and the reason for that: `GET /_reshard/jobs/{id}/state`. Raises NotFound."""
        request = make("reshard job state", "GET", f"{self._path}/state")
        answer = await self._link.ask(request, timeout=timeout, needs="2.4")
        raw = decode(request, answer, dict[str, Any])
        return ReshardJobState(raw["state"]), _reason(raw)

    async def stop(self, reason: str | None = None, *, timeout: Limit = None) -> None:
        """Stop it: `PUT /_reshard/jobs/{id}/state`. It stays so when resharding as a whole is set to run again.

        Of one that has completed the server takes it, and nothing changes. Raises NotFound.
        """
        await self._set("stopped", reason, timeout)

    async def resume(self, reason: str | None = None, *, timeout: Limit = None) -> None:
        """Let it go on: `PUT /_reshard/jobs/{id}/state`. (The path in the reference's example is wrong.)"""
        await self._set("running", reason, timeout)

    async def remove(self, *, timeout: Limit = None) -> bool:
        """Stop it where it runs, and remove it: `DELETE /_reshard/jobs/{id}`. False where it was gone already."""
        request = make("remove reshard job", "DELETE", self._path, effect=Effect.REPEATABLE)
        try:
            await self._link.ask(request, timeout=timeout, needs="2.4")
        except NotFound:
            return False
        return True

    def states(self, *, interval: float = 1.0, timeout: float | None = None) -> States[ReshardStatus]:
        """Its states as they change, each split state that is seen included, until it has ended.

        interval: Seconds between looks. timeout: Seconds for all of it; by default there is no limit.
        """
        return States(self.status, interval=interval, timeout=timeout, rng=self._link.rng)

    async def finished(self, *, interval: float = 1.0, timeout: float | None = None) -> ReshardStatus:
        """Wait until it has ended. A stopped job is waited for.

        Raises ReshardFailed, NotFound where it was removed, and RequestTimeout after `timeout` seconds.
        """
        status = await self.states(interval=interval, timeout=timeout).last()
        if status.state is ReshardJobState.FAILED:
            raise ReshardFailed(status.reason or "it failed", code="failed", operation="reshard job")
        return status

    async def _set(self, state: str, reason: str | None, timeout: Limit) -> None:
        await _set_state(self._link, f"{self._path}/state", state, reason, timeout)


@define(eq=False)
class Reshard:
    """Resharding of the cluster: `/_reshard` (reference, 1.2.20; since 2.4). `couch.reshard`.

    Calls raise Unauthorized where the user is no administrator.
    """

    _link: Link = field(alias="link")

    async def summary(self, *, timeout: Limit = None) -> ReshardSummary:
        """Counts of jobs, and whether they run: `GET /_reshard`."""
        request = make("reshard summary", "GET", "/_reshard")
        answer = await self._link.ask(request, timeout=timeout, needs="2.4")
        return read(ReshardSummary, decode(request, answer, dict[str, Any]))

    async def state(self, *, timeout: Limit = None) -> tuple[ReshardState, str | None]:
        """Whether jobs run, and the reason for that: `GET /_reshard/state`."""
        request = make("reshard state", "GET", "/_reshard/state")
        answer = await self._link.ask(request, timeout=timeout, needs="2.4")
        raw = decode(request, answer, dict[str, Any])
        return ReshardState(raw["state"]), _reason(raw)

    async def stop(self, reason: str | None = None, *, timeout: Limit = None) -> None:
        """Stop all jobs, on all nodes: `PUT /_reshard/state`.

        The reason is sent as `reason`: the `state_reason` of the reference is taken without a word, and ignored
        (measured on 3.5.0).
        """
        await _set_state(self._link, "/_reshard/state", "stopped", reason, timeout)

    async def resume(self, reason: str | None = None, *, timeout: Limit = None) -> None:
        """Let jobs run, those that were running when it was stopped: `PUT /_reshard/state`."""
        await _set_state(self._link, "/_reshard/state", "running", reason, timeout)

    async def jobs(self, *, timeout: Limit = None) -> list[ReshardStatus]:
        """All jobs: `GET /_reshard/jobs`. The server knows no pages of them."""
        request = make("reshard jobs", "GET", "/_reshard/jobs")
        answer = await self._link.ask(request, timeout=timeout, needs="2.4")
        return [_status(raw) for raw in decode(request, answer, dict[str, Any])["jobs"]]

    def job(self, id: str) -> ReshardJob:
        """A job by its id. Sends nothing."""
        return ReshardJob(self._link, id)

    async def create(
        self,
        db: str | None = None,
        *,
        shard: str | None = None,
        range: str | None = None,
        node: str | None = None,
        type: Literal["split"] = "split",
        timeout: Limit = None,
    ) -> list[ReshardResult]:
        """Split shards: `POST /_reshard/jobs`. One result for each copy of each shard, of which some may be refused.

        db: All shards of this database; or only those of a `range`, such as `00000000-7fffffff`; or only those on a
            `node`, by its Erlang name. Or:
        shard: This one, such as `shards/00000000-7fffffff/name.1795314191`, on all nodes or on one.

        Where all are refused the server answers 500 with the list in it (measured on 3.5.0): that is no error here.
        Raises BadRequest where there is no such database or node, and NotFound where no shard has this range.
        """
        fields: dict[str, object] = {"type": check_either("type", type, ("split",))}
        if (db is None) == (shard is None):
            raise ValueError("shard: one of db and shard is needed, and not both")
        if db is not None:
            fields["db"] = check_database(db, "db")
        if shard is not None:
            if range is not None:
                raise ValueError("range: a shard is of one range already")
            if not _SHARD.fullmatch(check_text(shard, "shard")):
                raise ValueError(f"shard: {shard!r} is none, such as shards/00000000-7fffffff/name.1795314191")
            fields["shard"] = shard
        if range is not None:
            if not _RANGE.fullmatch(check_text(range, "range")):
                raise ValueError(f"range: {range!r} is none, such as 00000000-7fffffff")
            fields["range"] = range
        if node is not None:
            fields["node"] = check_text(node, "node")
        request = make("create reshard jobs", "POST", "/_reshard/jobs", document=fields)
        answer = await self._link.ask(request, timeout=timeout, allow=(500,), needs="2.4")
        try:
            rows = msgspec.json.decode(answer.body, type=list[dict[str, Any]])
        except msgspec.MsgspecError:
            raise refusal(request, answer) from None
        return self._results(rows)

    def _results(self, rows: Sequence[dict[str, Any]]) -> list[ReshardResult]:
        return [
            ReshardResult(
                node=row.get("node"),
                shard=row.get("shard"),
                id=row.get("id"),
                job=ReshardJob(self._link, row["id"]) if row.get("ok") and row.get("id") else None,
                error=None if row.get("error") is None else str(row["error"]),
            )
            for row in rows
        ]


async def _set_state(link: Link, path: str, state: str, reason: str | None, timeout: Limit) -> None:
    document = {"state": state}
    if reason is not None:
        document["reason"] = check_text(reason, "reason")
    request = make("set reshard state", "PUT", path, document=document, effect=Effect.REPEATABLE)
    await link.ask(request, timeout=timeout, needs="2.4")


def _reason(raw: dict[str, Any]) -> str | None:
    found = raw.get("reason", raw.get("state_reason"))
    return None if found is None else str(found)


def _status(raw: dict[str, Any]) -> ReshardStatus:
    info = raw.get("state_info")
    known = {"state_info": info if isinstance(info, dict) else {} if info is None else {"reason": info}}
    return read(ReshardStatus, raw, history=[read(ReshardEvent, event) for event in raw.get("history") or ()], **known)
