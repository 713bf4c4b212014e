"""etcd's discovery token: a directory of a v2 registry in which the members of a new cluster have registered."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from urllib.parse import parse_qsl, urlsplit

import anyio
import msgspec
from attrs import define, field, frozen

from aetcd._routing.peer import Peer, parse_peers
from aetcd._transport.discovery import DISCOVERY, is_loopback, not_found, reachable
from aetcd._transport.http import HTTP
from aetcd._transport.tls import TLS, make_context
from aetcd._transport.trace import Tracer
from aetcd._wire.decode import decode
from aetcd._wire.message import NO_HEADERS, Effect, Request, Response
from aetcd.errors import ConfigError, DecodeError, TransportError

__all__ = ["Token"]

REGISTRY_ANSWERS = 5.0  # seconds that one question to the registry may take
MEMBER_ANSWERS = 2.0  # seconds that one question to a member may take
TRIES = 3  # failed questions to the registry in a row
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between questions
STRAGGLERS = 2.0  # seconds for which members that tell clients nothing yet are waited for, when others do
CLIENT_PORT = 2379


class _Node(msgspec.Struct, rename="camel"):
    key: str = ""
    value: str = ""
    dir: bool = False
    created_index: int = 0
    nodes: list[_Node] = []


class _Answer(msgspec.Struct):
    node: _Node


class _Member(
    msgspec.Struct,
    rename={"peer_urls": "peerURLs", "client_urls": "clientURLs", "is_learner": "isLearner"},
):
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class _Members(msgspec.Struct):
    members: list[_Member] = []


@frozen
class _Registered:
    """What one member wrote into the registry.

    peer_urls: Where the other members reach it.
    client_urls: Where clients do: only registries of etcd 0.4 hold such.
    """

    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: str) -> _Registered:
        """`name=url,name=url` as etcd writes it, `&` in place of the comma as it reads it too, or a bare URL."""
        if value.startswith(("http://", "https://")):
            return cls(client_urls=tuple(value.split(",")))
        return cls(peer_urls=tuple(url for _, url in parse_qsl(value.replace(",", "&"))))


def _question(path: str, method: str = "GET", body: bytes | None = None) -> Request:
    return Request(operation=DISCOVERY, method=method, path=path, effect=Effect.READ, body=body)


OF_PEER_PORT = _question("/members")
OF_CLIENT_PORT = (_question("/v3/cluster/member/list", "POST", b"{}"), _question("/v2/members"))


def _read_members(body: bytes) -> Sequence[_Member]:
    return decode(body, list[_Member]) if body.lstrip().startswith(b"[") else decode(body, _Members).members


@define(eq=False)
class Token:
    """Reads `https://host/<token>`, or `http://host:2379/v2/keys/_etcd/registry/<token>`.

    The registry knows where members reach each other. Where clients reach them is asked of the members: at that very
    URL, which serves `/members`; and where it does not answer us, for it may want a member's certificate or stand
    behind a firewall, at port 2379 of the same host. What answers there is believed only if it knows the registered URL
    as its own cluster's, and no credentials are sent anywhere.

    tls: The client's own. Members are asked under it. The registry may be a public one: the system's authorities are
        believed beside the configured one there, and the client's certificate is not shown.
    client_port: Where clients are usually served.

    Raises ConfigError, naming `discovery`, for what can be no such URL.
    """

    url: str
    tls: TLS | ssl.SSLContext | bool | None = None
    tracer: Tracer | None = None
    client_port: int = CLIENT_PORT
    rng: random.Random = field(factory=random.Random)
    progress: str = field(default="the registry has not answered", init=False)
    _registry: Peer = field(init=False)
    _path: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._registry, self._path = _split(self.url)

    def __repr__(self) -> str:
        return f"<Token {self._shown}>"

    @property
    def _shown(self) -> str:
        # Whoever knows the token can register: errors travel far, so no more of it than tells it from others.
        place, _, token = self._path.rpartition("/")
        return f"{self._registry.url}{place}/{token[:4]}..."

    async def find(self) -> Sequence[Peer]:
        """The cluster's members, as soon as so many have registered as the token is for, and serve clients.

        Raises NoPeerAvailable where the registry cannot be asked, knows no such token, or is none.
        """
        async with AsyncExitStack() as opened:
            registry, members = HTTP(_registry_context(self.tls)), HTTP(make_context(self.tls))
            opened.push_async_callback(registry.aclose)
            opened.push_async_callback(members.aclose)
            return await self._clients_of(members, await self._all_registered(registry))

    # The registry

    async def _all_registered(self, http: HTTP) -> Sequence[_Registered]:
        size = await self._size(http)
        pauses = _Pauses(self.rng)
        while True:
            listed = await self._read(http, self._path)
            if listed is None:
                raise not_found(f"{self._shown}: the registry knows no such token")
            if not listed.dir:
                raise not_found(f"{self._shown} is a key, and no token")
            nodes = sorted((node for node in listed.nodes if not node.dir), key=lambda node: node.created_index)
            if nodes and len(nodes) >= (size or 1):
                # Who registered after the last place was taken is told that the cluster is full: it is no member.
                return [_Registered.read(node.value) for node in nodes[:size]]
            self.progress = f"{len(nodes)} of {size or 'any number of'} members have registered at {self._shown}"
            await pauses.next()

    async def _size(self, http: HTTP) -> int | None:
        """How many members the token is for; registries of etcd 0.4 do not say."""
        told = await self._read(http, f"{self._path}/_config/size")
        if told is None:
            return None
        if not told.value.isdecimal() or int(told.value) < 1:
            raise not_found(f"{self._shown}: the size of the cluster is {told.value!r}")
        return int(told.value)

    async def _read(self, http: HTTP, path: str) -> _Node | None:
        """A directory or key of the registry, or None where it is not there."""
        pauses = _Pauses(self.rng)
        failures = 0
        while True:
            try:
                answer = await self._ask(http, self._registry, _question(path), REGISTRY_ANSWERS)
            except TransportError as e:
                self.progress = f"the registry does not answer: {e}"
                failures += 1
                if failures == TRIES:
                    raise not_found(f"{self._shown}: {self.progress}") from e
            else:
                if answer.status == 404:
                    return None
                if answer.status == 200:
                    return self._node(answer)
                self.progress = f"{self._shown}: the registry answered HTTP {answer.status}"
                failures += 1
                if failures == TRIES or answer.status < 500:
                    raise not_found(self.progress)
            await pauses.next()

    def _node(self, answer: Response) -> _Node:
        try:
            return decode(answer.body, _Answer).node
        except DecodeError as e:
            raise not_found(f"{self._shown} is no etcd discovery URL: {e}") from e

    # The members

    async def _clients_of(self, http: HTTP, registered: Sequence[_Registered]) -> Sequence[Peer]:
        plain = reachable((url for one in registered for url in one.client_urls), local=True)
        asked = reachable((url for one in registered for url in one.peer_urls), local=True)
        if not asked and not plain:
            raise not_found(f"{self._shown}: those who registered there left no URLs")
        return (*plain, *await self._served(http, asked)) if asked else plain

    async def _served(self, http: HTTP, asked: Sequence[Peer]) -> Sequence[Peer]:
        """Where the members serve clients, once each of them tells, or some do and the others take too long."""
        clock = asyncio.get_running_loop().time
        patience: float | None = None
        pauses = _Pauses(self.rng)
        self.progress = f"no member that has registered at {self._shown} answers"
        while True:
            members, local = await self._members(http, asked)
            peers = reachable((url for member in members for url in member.client_urls), local=local)
            if peers:
                patience = patience or clock() + STRAGGLERS
                if clock() >= patience or all(member.client_urls for member in members):
                    return peers
            elif members:
                self.progress = f"the members that have registered at {self._shown} name no URL for clients yet"
            await pauses.next()

    async def _members(self, http: HTTP, asked: Sequence[Peer]) -> tuple[Sequence[_Member], bool]:
        """The members that vote, and whether those who told are on this machine."""
        at_peer_ports = [(peer, OF_PEER_PORT) for peer in asked]
        hosts = dict.fromkeys(Peer(peer.host, self.client_port, tls=peer.tls) for peer in asked)
        at_client_ports = [(peer, request) for peer in hosts for request in OF_CLIENT_PORT]
        for questions in (at_peer_ports, at_client_ports):
            if told := await self._first_told(http, questions, set(asked)):
                return told
        return (), False

    async def _first_told(
        self, http: HTTP, questions: Iterable[tuple[Peer, Request]], known: set[Peer]
    ) -> tuple[Sequence[_Member], bool] | None:
        """The first answer by a member of this very cluster, of several that are asked together."""
        told: list[tuple[Sequence[_Member], bool]] = []

        async def ask(peer: Peer, request: Request, done: anyio.CancelScope) -> None:
            try:
                answer = await self._ask(http, peer, request, MEMBER_ANSWERS)
                members = _read_members(answer.body) if answer.status == 200 else ()
            except (TransportError, DecodeError) as e:
                self.progress = f"no member that has registered at {self._shown} answers; the last: {e}"
                return
            if known.intersection(reachable((url for member in members for url in member.peer_urls), local=True)):
                told.append(([member for member in members if not member.is_learner], is_loopback(peer)))
                done.cancel()

        async with anyio.create_task_group() as group:
            for peer, request in questions:
                group.start_soon(ask, peer, request, group.cancel_scope)
        return told[0] if told else None

    async def _ask(self, http: HTTP, peer: Peer, request: Request, limit: float) -> Response:
        """One exchange, shown to the tracer as the pool's are."""
        if self.tracer is None:
            return await http.exchange(peer, request, NO_HEADERS, total=limit, connect=limit, read=None)
        clock = asyncio.get_running_loop().time
        started, status, error = clock(), None, None
        self.tracer.request(request, peer.url, NO_HEADERS, 1)
        try:
            answer = await http.exchange(peer, request, NO_HEADERS, total=limit, connect=limit, read=None)
            status = answer.status
        except TransportError as e:
            error = str(e)
            raise
        finally:
            self.tracer.response(request, peer.url, 1, clock() - started, status=status, error=error)
        return answer


class _Pauses:
    """Pauses between questions, longer and longer, with some jitter: many clients may be waiting for one cluster."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seconds = FIRST_PAUSE

    async def next(self) -> None:
        await asyncio.sleep(self._seconds * self._rng.uniform(0.5, 1.0))
        self._seconds = min(2 * self._seconds, LONGEST_PAUSE)


def _split(url: str) -> tuple[Peer, str]:
    """Where the registry is, and the path of the token."""
    if not isinstance(url, str):
        raise TypeError(f"discovery must be a URL, not {type(url).__name__}")
    if "@" in url or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("discovery: the URL holds credentials (or an @), whitespace, or what is not ASCII")
    try:
        parts = urlsplit(url)
        registry, *others = parse_peers(
            f"{parts.scheme}://{parts.netloc}", default_port=443 if parts.scheme == "https" else 80
        )
    except ValueError as e:
        raise ConfigError(f"discovery: {str(e).removeprefix('peers: ')}: https://host/<token> is needed") from e
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or others or not path:
        raise ConfigError("discovery: https://host/<token> is needed, with one host, a token, and nothing behind it")
    return registry, path


def _registry_context(tls: TLS | ssl.SSLContext | bool | None) -> ssl.SSLContext | None:
    if not isinstance(tls, TLS):
        return make_context(tls)
    context = make_context(TLS(verify=tls.verify))
    if context is not None and tls.ca is not None:
        context.load_verify_locations(tls.ca)
    return context
