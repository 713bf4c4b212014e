"""The client: how it is made, what it speaks, and what hangs off it."""

from __future__ import annotations

import asyncio
import math
import random
import ssl
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from weakref import WeakSet

import anyio
import msgspec

from aetcd._client.arguments import check_flag, check_seconds, check_setting
from aetcd._client.calls import Limit
from aetcd._client.directories import Directories
from aetcd._client.environment import settings_from_env
from aetcd._client.keys import Keys
from aetcd._client.recipes import Recipes
from aetcd._client.sources import make_source
from aetcd._client.store import ClientStore, Coordination
from aetcd._client.watching import Watching
from aetcd._routing.balance import Policy, make_policy
from aetcd._routing.peer import parse_peers
from aetcd._routing.retry import RetryPolicy, make_retry
from aetcd._transport.auth import ANONYMOUS, BasicAuth
from aetcd._transport.channel import Channel
from aetcd._transport.discovery import Discovery
from aetcd._transport.http import HTTP
from aetcd._transport.pool import Pool
from aetcd._transport.seats import SeatStatus
from aetcd._transport.srv import SRV
from aetcd._transport.timeouts import Budget, Timeout
from aetcd._transport.tls import TLS, make_context
from aetcd._transport.trace import Trace, Tracer, show_on_stderr
from aetcd._trust import Clock, boot_clock
from aetcd._wire.message import Effect, Request
from aetcd.errors import ConfigError, Outcome, RequestTimeout
from aetcd.etcd._keyspace import KeySpace
from aetcd.etcd._membership import Membership, sync_interval
from aetcd.etcd._session import Lease, Session
from aetcd.etcd._watch import Feed, Watch, WatchStatus
from aetcd.etcd.v3 import V3
from aetcd.etcd.v3._coalesce import Coalescer
from aetcd.etcd.v3._codec import gateway_prefix
from aetcd.etcd.v3._keyspace import V3KeySpace
from aetcd.etcd.v3._store import V3Store
from aetcd.etcd.v3._token import UserToken

if TYPE_CHECKING:
    from aetcd.etcd.v2 import V2

__all__ = ["Client", "Protocol", "Status"]

T = TypeVar("T")

Protocol = Literal["auto", "v2", "v3"]

# Its answer needs a leader, so that a peer that is cut off from the others is not taken for a well one. A full disk is
# left to be said by writes.
PROBE = Request(operation="health", method="GET", path="/health?exclude=NOSPACE", effect=Effect.READ)


GOODBYE = 2.0  # seconds for which a closing client tries to end its sessions; they end by themselves too


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A client, as it is now.

    protocol: `v2` or `v3`; None before the first request of `protocol="auto"`.
    """

    protocol: str | None
    closed: bool
    peers: Sequence[SeatStatus]
    watches: Sequence[WatchStatus]


class _Chosen(msgspec.Struct):
    """The protocol that is spoken."""

    space: KeySpace
    queues: Coordination


class Client(Keys, Directories, Watching, Recipes):
    """The hierarchical key space of an etcd cluster.

        async with aetcd.Client("http://127.0.0.1:2379", "http://127.0.0.1:22379") as client:
            await client.set("message", "Hello World")
            await client.get("message")

    Nothing is sent, and no loop is needed, until the first call. It belongs to the event loop and the process of that
    call: in another it raises WrongContext.

    peers: URLs, `(host, port)` pairs, `{"host": ..., "port": ...}`, or one URL with several hosts separated by commas;
        as arguments or as `peers=`; or one peer as `host=` and `port=`. `http://127.0.0.1:2379` by default; a missing
        port is 2379.
    discovery: The discovery URL that the cluster was made with, `https://host/<token>`: the first call finds the
        members there. Peers that are named too serve where it cannot be read.
    discovery_srv: A domain, or an `SRV`: the first call finds the peers in its DNS records, `_etcd-client-ssl._tcp` and
        `_etcd-client._tcp`. Needs the extra `srv`.
    member_sync: True reads the cluster's members every 60 s and when a peer was lost, and uses them beside the peers
        above; or the number of seconds. Off by default, since members may stand behind a proxy or an address
        translation.
    protocol: `auto` reads the server's version at the first call: v3 from etcd 3.0 on, else v2; it stays so for the
        client's life. v2 on a newer server is asked for by name: the two key spaces are apart.
    namespace: Put before every key, as it is, and taken off on the way back.
    consistent: True reads what the cluster has agreed on (linearizable); False the peer's own copy, which may be stale.
    username, password: Sent as a token on v3 (renewed by itself, and none while the cluster asks for none), as basic
        authentication on v2.
    tls: A `TLS`, an `ssl.SSLContext`, or False to believe any server; for https peers.
    timeout: Seconds for a whole call, or a `Timeout`; 10 by default.
    balance: `round_robin`, `least_pending`, `power_of_two`, `sticky`, or an object with `pick(candidates)`.
    retry: How often one request may be sent at most, a `RetryPolicy`, or False for once.
    debug: Logs every call to the logger `aetcd.http` as a curl line, secrets replaced.
    trace: Hooks for metrics and tracing.
    clock: What sessions, locks and leaderships judge their trust by.
    watch_sharing: False gives each watch a connection of its own; v3 only. By default they share a few streams, and do
        by themselves without where a proxy lets none come up.
    guard: Members whose answers are older than what was seen before, or of another cluster, are left out while there
        are others; v3 only. A read that met such an answer is done again as a linearizable one, so that reads do not go
        back while a quorum answers. Where none does within 2 s, or what is left of the call's timeout, the answer is
        given as it is: `consistent=False` then reads what is older. Where the linearizable read confirms it, the
        cluster was restored or replaced: a warning is logged, watches end with HistoryLost, and calls go on. False
        believes every answer.
    coalesce: Gets of single keys that wait at the same time share a request, and so do contenders who leave and enter
        the queues of locks, permits and elections; v3 only. One by itself goes as ever; False sends each by itself.
    coalesce_writes: The same for `set`; off by default, for it means more: sets that share a request have one revision
        and are applied all or none, so that where its fate is open it is so for all of them. A refusal still reaches
        only the caller whose set is to blame. Sets of one key are applied in the order of the calls.

    Every call takes `timeout=`, and with `full=True` answers a `Result`. Calls raise the errors of `aetcd.errors`; a
    write whose fate is open raises OutcomeUnknown and was not sent twice. Cancelling a write leaves its outcome
    unknown. Bad arguments raise ValueError or TypeError, naming the argument, before anything is sent.
    """

    def __init__(
        self,
        *urls: Any,
        host: str | None = None,
        port: int | None = None,
        peers: Sequence[Any] | None = None,
        discovery: str | None = None,
        discovery_srv: str | SRV | None = None,
        member_sync: bool | float = False,
        protocol: Protocol = "auto",
        namespace: str = "",
        consistent: bool = True,
        username: str | None = None,
        password: str | None = None,
        tls: TLS | ssl.SSLContext | bool | None = None,
        timeout: Timeout | float = 10.0,
        balance: str | Policy = "round_robin",
        retry: RetryPolicy | int | bool | None = None,
        debug: bool = False,
        trace: Trace | None = None,
        clock: Clock = boot_clock,
        watch_sharing: bool = True,
        guard: bool = True,
        coalesce: bool = True,
        coalesce_writes: bool = False,
    ) -> None:
        if protocol not in {"auto", "v2", "v3"}:
            raise ConfigError(f'protocol must be "auto", "v2" or "v3", not {protocol!r}')
        if (username is None) != (password is None):
            raise ConfigError(f"{'password' if password is None else 'username'} is missing")
        for argument, text in (("namespace", namespace), ("username", username or ""), ("password", password or "")):
            check_setting(text, argument)
        check_flag(consistent, "consistent")
        check_flag(watch_sharing, "watch_sharing")
        if check_flag(debug, "debug"):
            show_on_stderr()
        rng = random.Random()
        context = make_context(tls)
        tracer = Tracer(trace, debug=debug) if debug or trace else None
        source = make_source(discovery, discovery_srv, tls, tracer)
        alone = source is not None and not urls and host is None and port is None and peers is None
        scheme = "http" if tls is None else "https"
        given = () if alone else parse_peers(*urls, host=host, port=port, peers_list=peers, default_scheme=scheme)
        interval = sync_interval(member_sync)
        self._pool = Pool(
            given,
            http=lambda: HTTP(context),
            balance=make_policy(balance, rng),
            retry=make_retry(retry),
            timeout=Timeout.of(timeout),
            probe=PROBE,
            prepare=self._prepare if source is not None or interval is not None else None,
            tracer=tracer,
            rng=rng,
        )
        self._spawn = self._pool.spawn
        self._discovery: Discovery | None = None
        if source is not None:
            use, spawn = self._pool.configure, self._spawn
            self._discovery = Discovery(source=source, use=use, spawn=spawn, secure=tls is not None, fallback=not alone)
        self._membership = None if interval is None else Membership(self._pool, self._read_members, interval)
        self._namespace = namespace
        self._consistent = consistent
        self._clock = clock
        self._coalesce = check_flag(coalesce, "coalesce"), check_flag(coalesce_writes, "coalesce_writes")
        self._watches: WeakSet[Watch] = WeakSet()
        self._sessions: WeakSet[Session] = WeakSet()
        self._choosing: asyncio.Event | None = None
        self._recipes = ClientStore(self)
        named = username is not None and password is not None
        self._v3 = V3(
            Channel(self._pool, UserToken(self._fetch_token) if named else ANONYMOUS),
            watch_sharing=watch_sharing,
            guard=check_flag(guard, "guard"),
        )
        self._credentials = (username or "", password or "") if named else None
        self._chosen = None if protocol == "auto" else self._named(protocol)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """A client with the settings of etcdctl's environment variables.

        Read are ETCDCTL_ENDPOINTS, ETCDCTL_DISCOVERY_SRV, ETCDCTL_DISCOVERY_SRV_NAME, ETCDCTL_USER, ETCDCTL_PASSWORD,
        ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_INSECURE_SKIP_TLS_VERIFY, ETCDCTL_DIAL_TIMEOUT,
        ETCDCTL_COMMAND_TIMEOUT and ETCDCTL_API. Arguments of this call go before them. Raises ConfigError, naming the
        variable.
        """
        found = settings_from_env(environ)
        if not settings.keys().isdisjoint({"host", "port"}):
            found.pop("peers", None)
        return cls(**{**found, **settings})

    def __repr__(self) -> str:
        namespace = f" namespace={self._namespace!r}" if self._namespace else ""
        state = " closed" if self._pool.closed else ""
        return f"<Client of {self._pool.urls} protocol={self._spoken() or 'auto'}{namespace}{state}>"

    # Opening and closing

    async def open(self) -> None:
        """Make ready. Sends nothing and never fails for dead peers; a second time changes nothing."""
        self._pool.open()

    async def aclose(self) -> None:
        """End sessions, watches and connections. From any task, any number of times.

        Whoever waits in a call or a watch gets ClientClosed, or OutcomeUnknown for a write on its way. Locks and
        leaderships that are still held are lost.
        """
        try:
            if not self._pool.closed:
                with anyio.move_on_after(2 * GOODBYE, shield=True):
                    await self._end_sessions()
        finally:
            await self._pool.aclose()

    async def _end_sessions(self) -> None:
        async with anyio.create_task_group() as group:
            for session in [session for session in self._sessions if session.standing]:
                session.lost.set()
                group.start_soon(session.aclose, GOODBYE)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def status(self) -> Status:
        """Peers and their health, watches and their lag. Sends nothing."""
        return Status(
            protocol=self._spoken(),
            closed=self._pool.closed,
            peers=self._pool.status(),
            watches=[watch.status() for watch in chain(self._watches, self._v3.watches) if watch.standing],
        )

    def use_peers(self, peers: Sequence[Any]) -> None:
        """Use these peers beside those that the client was made with, in place of the last ones given so.

        peers: In any form that the constructor takes. A registry can give them: `registry.feed(client.use_peers)`. Not
            together with `member_sync`, which does the same. Raises ConfigError.
        """
        self._pool.learn(parse_peers(peers_list=peers) if peers else ())

    @property
    def v3(self) -> V3:
        """The native API of etcd v3. It knows no namespace."""
        return self._v3

    @cached_property
    def v2(self) -> V2:
        """The native API of etcd v2. It knows no namespace."""
        # Loaded when it is used: few still speak it.
        from aetcd.etcd.v2 import V2

        return V2(Channel(self._pool, ANONYMOUS if self._credentials is None else BasicAuth(*self._credentials)))

    # Coordination

    def session(self, ttl: int = 60) -> Session:
        """Keys that live for as long as their owner does: `set(key, value, session=session)` inside `async with`.

        ttl: Seconds without renewal after which the server deletes them. The server may raise short ones; see
            `granted_ttl`.
        """
        check_seconds(ttl)

        async def lease() -> Lease:
            # On v2 it begins without sending anything, and then renews at the peers by name.
            await self._pool.prepared()
            return (await self._choose()).space.lease()

        session = Session(ttl, lease=lease, spawn=self._spawn, peers=lambda: self._pool.peers, clock=self._clock)
        self._sessions.add(session)
        return session

    # Behind the calls

    def _watch(self, key: str, *, recursive: bool = False, type: Any = None, **settings: Any) -> Watch:
        async def feed() -> Feed:
            chosen = self._chosen or await self._choose()
            return chosen.space.feed(key, recursive=recursive, type=type)

        pool = self._pool
        timeout = pool.timeout.total
        watch = Watch(feed, spawn=self._spawn, deadlines=pool.deadlines, name=key, timeout=timeout, **settings)
        self._watches.add(watch)
        return watch

    def _store(self) -> ClientStore:
        return self._recipes

    def _ready(self, timeout: Limit) -> tuple[KeySpace, Timeout] | None:
        if self._chosen is None:
            return None
        return self._chosen.space, self._pool.timeout if timeout is None else Timeout.of(timeout)

    async def _start(self, timeout: Limit) -> tuple[KeySpace, Timeout]:
        limit = self._pool.timeout if timeout is None else Timeout.of(timeout)
        # Each with its own patience, not behind another caller's who asks.
        limit = await self._pool.prepared(limit)
        budget = Budget(limit, asyncio.get_running_loop().time)
        try:
            async with asyncio.timeout(None if limit.total == math.inf else limit.total):
                chosen = await self._choose(limit)
        except TimeoutError as e:
            if isinstance(e, RequestTimeout):
                raise
            text = f"the server's version was not known within {limit.total:g} s"
            raise RequestTimeout(text, outcome=Outcome.NOT_SENT, operation="version") from e
        return chosen.space, budget.left()

    async def _choose(self, limit: Timeout | None = None) -> _Chosen:
        """The protocol, found out once. A failed question decides nothing: it is asked again at the next call."""
        if self._chosen is not None:
            return self._chosen
        self._pool.open()
        while self._chosen is None:
            if self._choosing is not None:
                await self._choosing.wait()
                continue
            # No lock: those who wait would leave it one by one, and their calls would not find each other.
            self._choosing = choosing = asyncio.Event()
            try:
                self._chosen = await self._chosen_by_server(limit)
            finally:
                self._choosing = None
                choosing.set()
        return self._chosen

    async def _chosen_by_server(self, limit: Timeout | None) -> _Chosen:
        version = (await self._v3.version(timeout=limit)).server
        if version.partition(".")[0] in {"0", "1", "2"}:
            return self._named("v2")
        self._v3.gateway.prefix = gateway_prefix(version)  # or it would ask the same question again
        return self._named("v3")

    def _named(self, protocol: str) -> _Chosen:
        if protocol == "v2":
            from aetcd.etcd.v2._keyspace import V2KeySpace
            from aetcd.etcd.v2._store import V2Store

            v2 = V2KeySpace(self.v2, self._namespace)
            return _Chosen(v2, V2Store(v2))
        reads, writes = self._coalesce
        v3 = V3KeySpace(self._v3, self._namespace, self._v3.hub, Coalescer(self._v3, reads=reads, writes=writes))
        return _Chosen(v3, V3Store(v3))

    def _spoken(self) -> str | None:
        return None if self._chosen is None else self._chosen.space.name

    async def _prepare(self, limits: Timeout) -> None:
        """Before the first request: find the peers, and begin to follow the cluster's membership."""
        if self._discovery is not None:
            await self._discovery.settle(limits)
        if self._membership is not None:
            self._membership.start()

    async def _read_members(self) -> Sequence[str]:
        """Where the cluster's members serve clients."""
        if (await self._choose()).space.name == "v2":
            return [url for member in await self.v2.members.list() for url in member.client_urls]
        voters = [member for member in (await self._v3.cluster.members()).members if not member.is_learner]
        return [url for member in voters for url in member.client_urls]

    async def _fetch_token(self) -> str:
        assert self._credentials is not None
        return await self._v3.auth.authenticate(*self._credentials)
