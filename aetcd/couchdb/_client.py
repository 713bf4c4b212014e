"""The client: how it is made, and what hangs off it."""

from __future__ import annotations

import math
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from attrs import frozen

from aetcd._routing.balance import Policy, make_policy
from aetcd._routing.peer import PeerLike, parse_peers
from aetcd._routing.retry import RetryPolicy, make_retry
from aetcd._transport.auth import Auth
from aetcd._transport.channel import Channel
from aetcd._transport.http import HTTP
from aetcd._transport.pool import Pool
from aetcd._transport.seats import SeatStatus
from aetcd._transport.timeouts import Timeout
from aetcd._transport.tls import TLS, make_context
from aetcd._transport.trace import Trace, Tracer, show_on_stderr
from aetcd.couchdb._arguments import check_text
from aetcd.couchdb._auth import AuthName, SessionAuth, make_auth
from aetcd.couchdb._database import Database
from aetcd.couchdb._endpoints import Endpoint, EndpointLike
from aetcd.couchdb._feeds import Feed
from aetcd.couchdb._link import PORT, Limit, Link
from aetcd.couchdb._node import Node
from aetcd.couchdb._replication import (
    ReplicationJob,
    cancel_replication,
    replicate,
    replication_request,
    start_replication,
)
from aetcd.couchdb._reshard import Reshard
from aetcd.couchdb._rows import Mode
from aetcd.couchdb._scheduler import Scheduler
from aetcd.couchdb._server import PROBE, Server
from aetcd.couchdb._setup import ClusterSetup
from aetcd.couchdb._source import Since
from aetcd.couchdb._updates import UPDATES, DatabaseUpdates

__all__ = ["CouchDB", "Status"]


@frozen(kw_only=True)
class Status:
    """A client, as it is now: whether it was closed, and its peers with their health."""

    closed: bool
    peers: tuple[SeatStatus, ...]


class CouchDB(Server):
    """A CouchDB server, or a cluster, of which any node serves.

        async with CouchDB("http://10.0.0.1:5984", "http://10.0.0.2:5984", username="admin", password=...) as couch:
            invoices = couch.database("invoices")
            await invoices.put({"total": 12}, id="2026-001")
            async with couch.db_updates(since=NOW) as updates:
                async for update in updates: ...

    Nothing is sent, and no loop is needed, until the first call. It belongs to the event loop and the process of that
    call: in another it raises WrongContext.

    peers: URLs, `(host, port)` pairs, `{"host": ..., "port": ...}`, or one URL with several hosts separated by commas;
        as arguments or as `peers=`; or one peer as `host=` and `port=`.
        `http://127.0.0.1:5984` by default; a missing port is 5984. A path in the URL is put before every request's, as
        behind a reverse proxy. The cluster's own list of nodes (`membership`) cannot tell them: it has Erlang names.
    username, password: Of the user. Never in the URLs.
    auth: `basic` sends them with every request. `session` trades them for a cookie, which is renewed by itself.
        `proxy` is a trusted proxy's word: `username`, `roles` and the server's `secret` (see `ProxyAuth`). `jwt` sends
        `token`, or what the async function `token` makes. Or an object with `current()` and `renew(stale)`.
    tls: A `TLS`, an `ssl.SSLContext`, or False to believe any server; for https peers.
    timeout: Seconds for a whole call, or a `Timeout`; 10 by default.
    balance: `round_robin`, `least_pending`, `power_of_two`, `sticky`, or an object with `pick(candidates)`.
    retry: How often one request may be sent at most, a `RetryPolicy`, or False for once. A write goes to another peer
        only where it is certain that it was not carried out.
    debug: Logs every call to the logger `aetcd.http` as a curl line, secrets replaced.
    trace: Hooks for metrics and tracing.

    scheduler: What replications there are (`jobs`, `docs`). reshard: Splitting of shards.

    Every call takes `timeout=`. Calls raise RequestRefused and its kinds for what the server refuses,
    EndpointUnsupported where it is too old, and the transport's errors: NoPeerAvailable, RequestTimeout, OutcomeUnknown
    for a write whose fate is open, which was not sent twice. Cancelling a write leaves its outcome unknown.
    """

    def __init__(
        self,
        *urls: PeerLike,
        host: str | None = None,
        port: int | str | None = None,
        peers: Iterable[PeerLike] | None = None,
        username: str | None = None,
        password: str | None = None,
        auth: AuthName | Auth = "basic",
        roles: Iterable[str] = (),
        secret: str | None = None,
        token: str | Callable[[], Awaitable[str]] | None = None,
        tls: TLS | ssl.SSLContext | bool | None = None,
        timeout: Timeout | float = 10.0,
        balance: str | Policy = "round_robin",
        retry: RetryPolicy | int | bool | None = None,
        debug: bool = False,
        trace: Trace | None = None,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random()
        context = make_context(tls)
        if debug:
            show_on_stderr()
        scheme = "http" if tls is None else "https"
        self._pool = Pool(
            parse_peers(*urls, host=host, port=port, peers_list=peers, default_port=PORT, default_scheme=scheme),
            http=lambda: HTTP(context),
            balance=make_policy(balance, rng),
            retry=make_retry(retry),
            timeout=Timeout.of(timeout),
            probe=PROBE,
            tracer=Tracer(trace, debug=debug) if debug or trace else None,
            rng=rng,
        )
        self._auth = make_auth(
            auth, self._pool, username=username, password=password, roles=roles, secret=secret, token=token
        )
        self._credentials = (username, password) if auth in ("basic", "session") else (None, None)
        self._link = Link(Channel(self._pool, self._auth), rng)
        self.scheduler = Scheduler(self._link)
        self.reshard = Reshard(self._link)

    def __repr__(self) -> str:
        return f"<CouchDB at {self._pool.urls}{' closed' if self._pool.closed else ''}>"

    # Opening and closing

    async def open(self) -> None:
        """Make ready. Sends nothing and never fails for dead peers; a second time changes nothing."""
        self._pool.open()

    async def aclose(self) -> None:
        """End requests, feeds and connections. From any task, any number of times.

        Whoever waits in a call or a feed gets ClientClosed, or OutcomeUnknown for a write on its way.
        """
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def status(self) -> Status:
        """Peers and their health. Sends nothing."""
        return Status(closed=self._pool.closed, peers=tuple(self._pool.status()))

    async def log_out(self) -> None:
        """End the session of `auth="session"`; the next call begins another.

        The server forgets nothing: a copy of the cookie is good until it runs out (measured on 3.5.0).
        """
        if isinstance(self._auth, SessionAuth):
            await self._auth.forget()

    # Parts

    def database(self, name: str) -> Database:
        """One database, whether it exists or not. Sends nothing. Raises ValueError for what can be no name."""
        return Database(self._link, name, endpoint=self._endpoint)

    def __getitem__(self, name: str) -> Database:
        return self.database(name)

    def node(self, name: str = "_local", *, peer: str | None = None) -> Node:
        """One node of the cluster. Sends nothing.

        name: Its Erlang name, as in `membership()`; any peer passes questions on to it. `_local` is the one that is
            asked.
        peer: URL of the peer to ask; it need not be one of the client's. With `_local` it is needed where there are
            several: otherwise each call would be another node's. Raises ConfigError then. With a name, the peer that
            answers first is kept to, until it does not answer.
        """
        check_text(name, "name")
        if name == "_local":
            return Node(self._link, name, self._link.only_peer(peer, "_local"))
        return Node(self._link, name, self._link.chosen_peer(peer))

    def cluster_setup(self, *, peer: str | None = None) -> ClusterSetup:
        """The set-up of one node. Sends nothing.

        peer: URL of that node, needed where there are several. Raises ConfigError then.
        """
        return ClusterSetup(self._link, self._link.only_peer(peer, "the set-up"))

    # Feeds

    def db_updates(
        self,
        *,
        since: Since = None,
        feed: Mode = "continuous",
        heartbeat: float = 10.0,
        limit: int | None = None,
        patience: float = math.inf,
    ) -> DatabaseUpdates:
        """What happens to databases, as an async iterator inside `async with`: `GET /_db_updates` (reference, 1.2.6).

            async with couch.db_updates(since=stored) as updates:
                async for update in updates:
                    await handle(update.name, update.kind)
                    stored = updates.seq

        since: The `seq` behind which to begin, of an event or of a feed; `NOW`: the server is asked for it when the
            block is entered, so that nothing after that is missed. None or 0 for all that the server remembers.
        feed: `continuous`; `longpoll`, one request for each handful of events; `eventsource`; or `normal`, which ends
            where the events do. All give the same events.
        heartbeat: Seconds between signs of life that the server is asked for. A feed that is silent for three of them
            is opened again at another peer. The first event may also come that late where nothing happens: the server
            sends no headers before (measured on 3.5.0).
        limit: Ends after so many events.
        patience: Seconds without an answer after which the last error is raised; by default it goes on trying for ever,
            after pauses with full jitter, of 5 s at most.

        What is promised: every event at least once. Where an answer breaks off, wherever that is, the feed is opened
        again at the last whole row, at any peer. What is not, for the server does not:

        - One event may stand for several of the same kind on the same database.
        - Their order is not that in which they happened.
        - Some may come again: after a change of peers, and all of them after `_global_changes` was deleted and made
          anew, for the cursor means nothing to the new one and no error tells. Handle events so that twice is as once.

        Modes change by themselves: `eventsource` is broken in the server for this feed (at its second sign of life it
        writes a second answer with status 500 into the first, and leaves the connection open: measured on 3.5.0), so
        that it goes on as `continuous` after what is past. `continuous` goes on as `longpoll` where not a byte comes,
        as behind a proxy that holds answers back until they are whole.

        Raises, from the block's beginning (with NOW) or from the iterator: Unauthorized without an administrator,
        Forbidden, DatabaseNotFound where there is no `_global_changes`, BadRequest for a `since` that is none,
        EndpointUnsupported before 1.4, ClientClosed. A cancelled wait loses nothing.
        """
        return Feed(self._link, UPDATES, since=since, feed=feed, heartbeat=heartbeat, limit=limit, patience=patience)

    # Replication

    async def replicate(
        self,
        source: EndpointLike,
        target: EndpointLike,
        *,
        continuous: bool = False,
        create_target: bool = False,
        doc_ids: Iterable[str] | None = None,
        filter: str | None = None,
        selector: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        source_proxy: str | None = None,
        target_proxy: str | None = None,
        since_seq: str | None = None,
        options: Mapping[str, Any] | None = None,
        timeout: Limit = None,
    ) -> ReplicationJob:
        """Replicate once, and wait for the end; or begin to replicate for good: `POST /_replicate` (reference, 1.2.8).

        It is one direction: from the source to the target. For both, ask twice.

        source, target: A whole URL, a `Database`, an `Endpoint` with credentials or headers, or the server's own object
            for one. A bare name is refused.
        continuous: It is begun, and goes on until it is cancelled, or the node that runs it restarts:
            `start_replication` outlasts that. What is told of it in the meantime is at `couch.scheduler.job(job.id)`.
        create_target: Creates the target, unless it exists.
        doc_ids, filter, selector: Only these documents; those for which the filter function `design/name` is true, with
            `parameters`; those that the selector fits. One of the three.
        source_proxy, target_proxy: URLs of proxies, with http or socks5.
        since_seq: Where in the source to begin. options: Fields that the reference of `_replicator` knows beyond these.
        timeout: By default there is none for a one-time replication, which is answered at its end.

        Gives a job: of a one-time replication it has ended, and `job.result` tells what it did.

        Raises ReplicationFailed for a database that is missing, credentials that are refused and a connection that is
        not made (all 500, measured on 3.5.0), Unauthorized where no user is logged in, or where a side has no
        credentials, Forbidden, BadRequest. A cancel of the wait leaves the replication running.
        """
        await self._hold_credentials()
        fields = replication_request(
            source,
            target,
            continuous=continuous,
            create_target=create_target,
            doc_ids=doc_ids,
            filter=filter,
            selector=selector,
            parameters=parameters,
            source_proxy=source_proxy,
            target_proxy=target_proxy,
            since_seq=since_seq,
            options=options,
        )
        return await replicate(self._link, fields, timeout)

    async def cancel_replication(self, id: str, *, timeout: Limit = None) -> bool:
        """End a replication by `replicate()`, by its id, as `ReplicationJob.cancel` does: `POST /_replicate` with
        `cancel` (reference, 1.2.8.5). False where there is none, which the server says with 404.
        """
        return await cancel_replication(self._link, {"replication_id": check_text(id, "id")}, timeout)

    async def start_replication(
        self,
        source: EndpointLike,
        target: EndpointLike,
        *,
        id: str | None = None,
        replicator: str = "_replicator",
        continuous: bool = False,
        create_target: bool = False,
        doc_ids: Iterable[str] | None = None,
        filter: str | None = None,
        selector: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        source_proxy: str | None = None,
        target_proxy: str | None = None,
        since_seq: str | None = None,
        options: Mapping[str, Any] | None = None,
        timeout: Limit = None,
    ) -> ReplicationJob:
        """Ask for a replication by a document, and return at once: it outlasts restarts, and tells of its end.

            job = await couch.start_replication(source, target)
            async for status in job.states(): print(status.state, status.docs_written)
            await job.finished()

        id: The document's; made here without one. replicator: The database that it is put into. The rest is as in
        `replicate`. Credentials stand in the document, where who may read that database reads them.

        Raises Conflict where there is such a document, Forbidden for one that the server finds malformed, and
        DatabaseNotFound where there is no such replicator database.
        """
        await self._hold_credentials()
        fields = replication_request(
            source,
            target,
            continuous=continuous,
            create_target=create_target,
            doc_ids=doc_ids,
            filter=filter,
            selector=selector,
            parameters=parameters,
            source_proxy=source_proxy,
            target_proxy=target_proxy,
            since_seq=since_seq,
            options=options,
        )
        return await start_replication(self._link, fields, id, replicator, timeout)

    def replication(self, doc_id: str, *, replicator: str = "_replicator") -> ReplicationJob:
        """The job of a document that exists already. Sends nothing."""
        return ReplicationJob(self._link, {}, doc_id=doc_id, replicator=replicator)

    # Behind the calls

    async def _hold_credentials(self) -> None:
        """A database's endpoint carries them, so those that are fetched have to be there before it is asked for."""
        if self._credentials[0] is None and self._auth.current() is None:
            await self._auth.renew(None)

    def _endpoint(self, path: str) -> Endpoint:
        username, password = self._credentials
        url = self._pool.peers[0].url + path
        if username is not None:
            return Endpoint(url=url, username=username, password=password)
        return Endpoint(url=url, headers=dict(self._auth.current() or {}))
