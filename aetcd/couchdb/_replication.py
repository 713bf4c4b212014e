"""Replications: asked for once, for good, or by a document; followed, and cancelled."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import evolve, field, frozen

from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import Effect
from aetcd.couchdb._arguments import check_flag, check_id, check_list, check_text, id_path, name_path
from aetcd.couchdb._codec import decode, instant, make, read
from aetcd.couchdb._endpoints import EndpointLike, endpoint_of
from aetcd.couchdb._errors import NotFound, ReplicationFailed, ServerFailed, facts_in
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._scheduler import ReplicationState, ReplicationStatus, Scheduler, check_replicator
from aetcd.couchdb._waiting import States
from aetcd.errors import Unsupported

__all__ = ["ReplicationHistory", "ReplicationJob", "ReplicationResult", "replicate", "start_replication"]

# How long the scheduler may take to see a new document.
_UNSEEN = ReplicationStatus(state=ReplicationState.INITIALIZING)


@frozen(kw_only=True)
class ReplicationHistory:
    """One session of a replication."""

    session_id: str = ""
    start_time: datetime | None = field(default=None, metadata=instant("start_time"))
    end_time: datetime | None = field(default=None, metadata=instant("end_time"))
    start_last_seq: str | int = ""
    end_last_seq: str | int = ""
    recorded_seq: str | int = ""
    missing_checked: int = 0
    missing_found: int = 0
    docs_read: int = 0
    docs_written: int = 0
    doc_write_failures: int = 0
    bulk_get_docs: int = 0
    bulk_get_attempts: int = 0


@frozen(kw_only=True)
class ReplicationResult:
    """What a one-time replication did.

    start_time, end_time: With `doc_ids` only; otherwise they are in the history.
    no_changes: There was nothing to do; then `history` is that of earlier sessions.
    history: Sessions, the latest first.
    """

    ok: bool
    start_time: datetime | None = field(default=None, metadata=instant("start_time"))
    end_time: datetime | None = field(default=None, metadata=instant("end_time"))
    session_id: str = ""
    source_last_seq: str | int = ""
    no_changes: bool = False
    replication_id_version: int | None = None
    history: tuple[ReplicationHistory, ...] = ()
    extra: dict[str, Any] = field(factory=dict)

    @property
    def docs_written(self) -> int:
        """Documents written, by this session and those before it: the server adds them up (measured on 3.5.0)."""
        return self.history[0].docs_written if self.history else 0

    @property
    def doc_write_failures(self) -> int:
        """Documents that the target refused, counted likewise."""
        return self.history[0].doc_write_failures if self.history else 0


class ReplicationJob:
    """A replication that was asked for.

    id: The replication's, where it is known: of one by a document it is in `status()`.
    doc_id, replicator: Of the document that asks for it; None of one by `replicate()`.
    continuous: It goes on for good.
    result: What a one-time replication by `replicate()` did; None of others.
    """

    def __init__(
        self,
        link: Link,
        request: Mapping[str, Any],
        *,
        id: str | None = None,
        doc_id: str | None = None,
        replicator: str | None = None,
        result: ReplicationResult | None = None,
    ) -> None:
        self._link = link
        self._request = request
        self.id = id
        self.doc_id = doc_id
        self.replicator = replicator
        self.result = result
        self.continuous = bool(request.get("continuous"))

    def __repr__(self) -> str:
        name = self.id if self.doc_id is None else f"{self.replicator}/{self.doc_id}"
        return f"<ReplicationJob {name or 'that has ended'}>"

    async def status(self, *, timeout: Limit = None) -> ReplicationStatus:
        """How it stands now, by the scheduler's word on its document, or by the answer that it got.

        Raises NotFound where its document is gone: it was cancelled. Raises Unsupported of a continuous one by
        `replicate()`: the server tells nothing of it that would outlast it. `couch.scheduler.job(id)` shows it while it
        is there.
        """
        if self.result is not None:
            state = ReplicationState.COMPLETED if self.result.ok else ReplicationState.FAILED
            done = {"docs_written": self.result.docs_written, "doc_write_failures": self.result.doc_write_failures}
            return ReplicationStatus(state=state, info=dict(done))
        if self.doc_id is None or self.replicator is None:
            text = "a continuous replication by replicate() has no end that the server tells: use start_replication()"
            raise Unsupported(text)
        try:
            return await Scheduler(self._link).doc(self.doc_id, replicator=self.replicator, timeout=timeout)
        except NotFound:
            # It is missing, too, before the scheduler has seen it: then the document is there.
            path = name_path(self.replicator) + id_path(self.doc_id)
            await self._link.ask(make("replication document", "GET", path), timeout=timeout)
            return evolve(_UNSEEN, doc_id=self.doc_id, database=self.replicator)

    def states(self, *, interval: float = 1.0, timeout: float | None = None) -> States[ReplicationStatus]:
        """Its states as they change, progress included, until it has ended, as an async iterator.

        interval: Seconds between looks. timeout: Seconds for all of it; by default there is no limit.

        A continuous one ends by failing only. Raises what `status` raises.
        """
        return States(self.status, interval=interval, timeout=timeout, rng=self._link.rng)

    async def finished(self, *, interval: float = 1.0, timeout: float | None = None) -> ReplicationStatus:
        """Wait until it has ended. That it is no longer among the active tasks or the jobs is not taken for that.

        Raises ReplicationFailed where it failed for good, RequestTimeout after `timeout` seconds, and what `status`
        raises. One that crashes again and again is waited for, as the server tries it again.
        """
        status = await self.states(interval=interval, timeout=timeout).last()
        if status.state is ReplicationState.FAILED:
            raise ReplicationFailed(status.error or "it failed", code="failed", operation="replication")
        return status

    async def cancel(self, *, timeout: Limit = None) -> bool:
        """End it. False where it was gone already.

        One by a document is ended by deleting that; one by `replicate()` by its id, or by repeating the whole request,
        which the server compares field by field (reference, 1.2.8.5). A 404 means that it was gone.
        """
        if self.result is not None:
            return False
        if self.doc_id is not None and self.replicator is not None:
            return await self._delete_document(self.doc_id, self.replicator, timeout)
        document = {"replication_id": self.id} if self.id is not None else dict(self._request)
        return await cancel_replication(self._link, document, timeout)

    async def _delete_document(self, id: str, replicator: str, timeout: Limit) -> bool:
        # The scheduler writes into the document too, so its revision may move between the two requests.
        path = name_path(replicator) + id_path(id)
        request = make("replication document", "GET", path)
        answer = await self._link.ask(request, timeout=timeout, allow=(404,))
        while answer.status != 404:
            revision = decode(request, answer, dict[str, Any])["_rev"]
            deletion = make("cancel replication", "DELETE", path, query={"rev": revision})
            ended = await self._link.ask(deletion, timeout=timeout, allow=(404, 409))
            if ended.status != 409:
                return ended.status != 404
            answer = await self._link.ask(request, timeout=timeout, allow=(404,))
        return False


async def cancel_replication(link: Link, document: Mapping[str, Any], timeout: Limit) -> bool:
    """End one that `replicate()` began; False where there is none."""
    # Twice is the same as once, but for the answer.
    request = make(
        "cancel replication",
        "POST",
        "/_replicate",
        document={**document, "cancel": True},
        effect=Effect.REPEATABLE,
        secret=True,
    )
    answer = await link.ask(request, timeout=timeout, allow=(404,))
    return answer.status != 404


def replication_request(
    source: EndpointLike,
    target: EndpointLike,
    *,
    continuous: bool,
    create_target: bool,
    doc_ids: Iterable[str] | None,
    filter: str | None,
    selector: Mapping[str, Any] | None,
    parameters: Mapping[str, Any] | None,
    source_proxy: str | None,
    target_proxy: str | None,
    since_seq: str | None,
    options: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What a replication is asked for by. Raises TypeError and ValueError, naming the argument."""
    choices = {"doc_ids": doc_ids, "filter": filter, "selector": selector}
    chosen = [argument for argument, value in choices.items() if value is not None]
    if len(chosen) > 1:
        raise ValueError(f"{chosen[1]}: one of doc_ids, filter and selector is possible, and {chosen[0]} is given")
    if selector is not None and not isinstance(selector, Mapping):
        raise TypeError(f"selector must be a mapping, not {selector!r}")
    fields: dict[str, Any] = {
        "source": endpoint_of(source, "source"),
        "target": endpoint_of(target, "target"),
        "continuous": check_flag(continuous, "continuous") or None,
        "create_target": check_flag(create_target, "create_target") or None,
        "doc_ids": None if doc_ids is None else check_list(doc_ids, "doc_ids"),
        "filter": None if filter is None else check_text(filter, "filter"),
        "selector": None if selector is None else dict(selector),
        "query_params": None if parameters is None else dict(parameters),
        "source_proxy": None if source_proxy is None else _proxy(source_proxy, "source_proxy"),
        "target_proxy": None if target_proxy is None else _proxy(target_proxy, "target_proxy"),
        "since_seq": None if since_seq is None else check_text(since_seq, "since_seq"),
    }
    return {**{name: value for name, value in fields.items() if value is not None}, **(options or {})}


async def replicate(link: Link, fields: Mapping[str, Any], timeout: Limit) -> ReplicationJob:
    """See `CouchDB.replicate`."""
    request = make("replicate", "POST", "/_replicate", document=dict(fields), secret=True)
    # A one-time replication is answered at its end, which may take hours.
    limit: Limit = timeout
    if timeout is None and not fields.get("continuous"):
        usual = link.limits(None)
        limit = Timeout(total=math.inf, connect=usual.connect or usual.total)
    try:
        answer = await link.ask(request, timeout=limit)
    except ServerFailed as e:
        raise ReplicationFailed(e.reason, **facts_in(e)) from None
    raw = decode(request, answer, dict[str, Any])
    if "_local_id" in raw and "session_id" not in raw:
        return ReplicationJob(link, fields, id=raw["_local_id"])
    sessions = [read(ReplicationHistory, session) for session in raw.get("history") or ()]
    return ReplicationJob(link, fields, result=read(ReplicationResult, raw, history=sessions))


async def start_replication(
    link: Link, fields: Mapping[str, Any], id: str | None, replicator: str, timeout: Limit
) -> ReplicationJob:
    """See `CouchDB.start_replication`."""
    check_replicator(replicator)
    name = uuid.uuid4().hex if id is None else check_id(id)
    path = name_path(replicator) + id_path(name)
    # The first write of a new id: where it is sent twice, the second one is refused, and nothing is doubled.
    request = make("start replication", "PUT", path, document=dict(fields), secret=True)
    await link.ask(request, timeout=timeout)
    return ReplicationJob(link, fields, doc_id=name, replicator=replicator)


def _proxy(value: str, argument: str) -> str:
    text = check_text(value, argument)
    if not text.startswith(("http://", "https://", "socks5://")):
        raise ValueError(f"{argument} must be a URL with http, https or socks5")
    return text
