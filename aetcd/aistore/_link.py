"""The cluster as one client reaches it: any gateway, the target it sends to, or one node by name."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NoReturn, TypeVar

from attrs import define, evolve, field

from aetcd._routing.peer import Peer, parse_peers
from aetcd._routing.retry import Fate, GiveUp, RetryPolicy, decide
from aetcd._transport.auth import Auth
from aetcd._transport.channel import Channel
from aetcd._transport.pool import Pool
from aetcd._transport.streams import Stream
from aetcd._transport.timeouts import Budget, Timeout
from aetcd._wire.message import Effect, Request, Response, Verdict
from aetcd.aistore._codec import Redirect, read_redirect, request
from aetcd.aistore._dialect import Dialect
from aetcd.aistore._dialect_33 import V33
from aetcd.aistore._dialect_current import CURRENT
from aetcd.aistore._errors import BucketNotFound, ForeignRedirect, NotFound, ObjectNotFound, raise_error
from aetcd.aistore._node_models import ClusterMap
from aetcd.aistore._node_shapes import read_map
from aetcd.errors import (
    AIStoreError,
    ConfigError,
    ConnectFailed,
    DecodeError,
    Outcome,
    OutcomeUnknown,
    RequestTimeout,
    TransportError,
    Unsupported,
)

__all__ = ["DIALECTS", "Link", "TimeoutLike", "spent"]

T = TypeVar("T")

TimeoutLike = Timeout | float | None

DIALECTS = {"3.3": V33, "current": CURRENT}

REFUSAL = 64 * 1024  # bytes of an error's text that are read
LEAST = 0.002  # seconds: less is no time in which something could be sent

_PASSING = (ConnectFailed, RequestTimeout)
_ANSWERED_AT_ONCE = "the gateway answered a put of nothing itself in place of sending it on, so it is none: {status}"


@define(eq=False)
class Link:
    """Sends requests, and follows redirects.

    auth: Whose credentials go to the cluster, and to nobody else.
    wanted: A dialect that must be the server's, or None for what it is.
    trusted: Hosts, with or without a port, that are as good as those of the cluster map.
    retry: How often what may be sent again is sent, from the gateway on.
    """

    pool: Pool
    auth: Auth
    wanted: Dialect | None
    trusted: frozenset[str]
    retry: RetryPolicy
    random: random.Random = field(factory=random.Random)
    on_map: Callable[[ClusterMap], None] = field(default=lambda _: None)
    known_map: ClusterMap | None = field(default=None, init=False)
    spoken: Dialect | None = field(default=None, init=False)
    _channel: Channel = field(init=False)
    _settling: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _peers: dict[str, Peer] = field(factory=dict, init=False)
    _vouched: frozenset[Peer] = field(default=frozenset(), init=False)

    def __attrs_post_init__(self) -> None:
        self._channel = Channel(self.pool, self.auth)

    # Limits

    def budget(self, timeout: TimeoutLike) -> Budget:
        """The time of one call, which may take several requests."""
        limits = self.pool.timeout if timeout is None else Timeout.of(timeout)
        return Budget(limits, asyncio.get_running_loop().time)

    # The dialect and the map

    async def dialect(self, timeout: TimeoutLike | Budget = None) -> Dialect:
        """The server's dialect, asked for once.

        Raises Unsupported where it is none that we know, and ConfigError where it is not the one that was named.
        """
        if self.spoken is not None:
            return self.spoken
        budget = timeout if isinstance(timeout, Budget) else self.budget(timeout)
        self.pool.open()
        await self._turn(budget)
        try:
            if self.spoken is None:
                if self.known_map is None:
                    await self.read_map(budget)
                self.spoken = await self._detect(budget)
        finally:
            self._settling.release()
        return self.spoken

    async def _turn(self, budget: Budget) -> None:
        """Wait for whoever asks for the dialect already, but no longer than this call may."""
        if not self._settling.locked():
            await self._settling.acquire()
            return
        left = budget.left().total
        try:
            async with asyncio.timeout(None if left == math.inf else left):
                await self._settling.acquire()
        except TimeoutError as e:
            text = "another call asked for the cluster's version all the time"
            raise RequestTimeout(text, outcome=Outcome.NOT_SENT, operation="aistore dialect") from e

    async def read_map(self, timeout: TimeoutLike | Budget = None) -> ClusterMap:
        """The cluster map as it is now."""
        budget = timeout if isinstance(timeout, Budget) else self.budget(timeout)
        body = await self.ask(request("map", "GET", "/v1/daemon", query=[("what", "smap")]), budget, quick=True)
        known = self.known_map = read_map(body.body)
        urls = {url for node in known.nodes for url in (node.url, node.control_url, node.data_url) if url}
        self._vouched = frozenset(filter(None, map(_readable, urls)))
        self.on_map(known)
        return known

    async def _detect(self, budget: Budget) -> Dialect:
        # Each question is answered with 200 by one version, and with 400 by the other.
        for dialect in (CURRENT, V33):
            question = request("dialect", "GET", "/v1/daemon", query=[("what", dialect.queries["status"])])
            response = await self._channel.send(question, timeout=budget.left())
            if response.status == 200:
                break
            if response.status != 400:
                raise_error(question, response)
        else:
            raise Unsupported(f"{response.peer} is neither AIStore 3.3 nor of today, or it is no AIStore")
        if self.wanted not in {None, dialect}:
            raise ConfigError(
                f"dialect: the cluster speaks {dialect}, not {self.wanted}: an append of 3.3 would overwrite there"
            )
        return dialect

    # Asking gateways

    async def ask(
        self,
        question: Request,
        timeout: TimeoutLike | Budget = None,
        *,
        missing: type[AIStoreError] = NotFound,
        peer: str | None = None,
        quick: bool = False,
    ) -> Response:
        """The good answer of any gateway, or of one node.

        quick: It is answered at once, or not at all: another gateway is asked soon. Listings think longer.

        Raises what `Pool.send` does, and AIStoreError for answers that are no good ones.
        """
        budget = timeout if isinstance(timeout, Budget) else self.budget(timeout)
        limits = budget.left()
        if not (quick or limits.read or peer) and question.effect is not Effect.ONCE:
            limits = evolve(limits, read=limits.total / min(2, len(self.pool.peers)))
        response = await self._channel.send(question, timeout=limits, peer=None if peer is None else self._peer(peer))
        if response.status >= 300:
            raise_error(question, response, missing)
        return response

    # Following redirects

    async def go(
        self,
        question: Request,
        timeout: TimeoutLike | Budget = None,
        *,
        missing: type[AIStoreError] = ObjectNotFound,
        missing_there: type[AIStoreError] = BucketNotFound,
    ) -> Response:
        """The good answer of the target that a gateway sends to. What may be sent again starts at the gateway.

        missing, missing_there: What a 404 of the target means, and one of the gateway, which knows buckets alone.
        """
        budget = timeout if isinstance(timeout, Budget) else self.budget(timeout)

        async def once() -> Response:
            place = await self._place(question, budget, missing_there)
            if isinstance(place, Response):
                return place
            return await self._channel.send(
                evolve(question, path=place.path(question.path)),
                timeout=budget.left(),
                peer=self._peer(place.url),
            )

        response = await self._again(question, once, budget)
        if response.status >= 300:
            raise_error(question, response, missing)
        return response

    @asynccontextmanager
    async def stream(self, question: Request, timeout: TimeoutLike | Budget = None) -> AsyncIterator[Stream]:
        """A good answer of the target, to be read inside the block. The limits are those of its opening."""
        budget = timeout if isinstance(timeout, Budget) else self.budget(timeout)
        async with AsyncExitStack() as outer:

            async def once() -> Stream | Response:
                place = await self._place(question, budget)
                if isinstance(place, Response):
                    raise DecodeError(f"{question.operation} at {place.peer}: HTTP {place.status} and no redirect")
                sent = evolve(question, path=place.path(question.path))
                async with AsyncExitStack() as inner:
                    stream = await inner.enter_async_context(
                        self._channel.stream(sent, timeout=budget.left(), peer=self._peer(place.url))
                    )
                    if stream.status >= 300:
                        return await _whole(stream)
                    outer.push_async_exit(inner.pop_all())
                    return stream

            answer = await self._again(question, once, budget)
            if isinstance(answer, Response):
                raise_error(question, answer, ObjectNotFound)
            yield answer

    async def upload(
        self,
        question: Request,
        content: AsyncIterable[bytes],
        *,
        length: int | None,
        pause: TimeoutLike = None,
        budget: Budget,
    ) -> Response:
        """The good answer of the target to a body. An empty question finds it, since a gateway reads no body.

        pause: Limits of each pause, not of the whole.
        budget: The time in which a connection to the target must stand, all attempts at that included.

        Raises ConnectFailed with the outcome `NOT_SENT` where the source was not touched, OutcomeUnknown where it was,
        and where an answer leaves it open.
        """
        limits, attempt = self.pool.timeout if pause is None else Timeout.of(pause), 0
        while True:
            attempt += 1
            place = await self._place(question, budget)
            if isinstance(place, Response):
                raise AIStoreError(
                    _ANSWERED_AT_ONCE.format(status=place.status), peer=place.peer, operation=question.operation
                )
            sent = evolve(question, path=place.path(question.path))
            left = budget.left().total
            near = evolve(limits, connect=left if limits.connect is None else min(left, limits.connect))
            try:
                async with self._channel.upload(
                    sent, content, length=length, timeout=near, peer=self._peer(place.url)
                ) as stream:
                    response = await _whole(stream)
                break
            except ConnectFailed as e:
                if e.outcome is not Outcome.NOT_SENT or attempt >= self.retry.attempts or spent(budget):
                    raise
                await asyncio.sleep(self.retry.base)
        if question.judge(response) is Verdict.OPEN:
            text = f"it may have been applied, and was not sent again: HTTP {response.status}"
            raise OutcomeUnknown(text, peer=response.peer, operation=question.operation, request=question)
        if response.status >= 300:
            raise_error(question, response, ObjectNotFound)
        return response

    async def _place(
        self, question: Request, budget: Budget, missing: type[AIStoreError] = BucketNotFound
    ) -> Redirect | Response:
        """Where a gateway sends it; or the gateway's own answer.

        Nothing is done by the question: gateways carry out nothing that belongs to an object. So it may go to another
        gateway at any time. A redirect is never kept: 301 is said to be for ever, and is for this request alone.
        """
        body = question.body if question.headers.get("Content-Type") else None
        asked = evolve(question, effect=Effect.READ, body=body)
        response = await self._channel.send(asked, timeout=budget.left())
        if response.status >= 400:
            raise_error(question, response, missing)
        if response.status < 300:
            return response
        place = read_redirect(question, response)
        if self.spoken is not None and self.spoken.decimal_stamp and not place.decimal:
            raise Unsupported(
                f"{response.peer} speaks {self.spoken} no longer: it was upgraded. Make a new client, which asks again"
            )
        await self._check(place, response.peer, budget)
        return place

    async def _check(self, place: Redirect, gateway: str, budget: Budget) -> None:
        """Raises ForeignRedirect: neither the request nor the token goes to whom nobody vouches for."""
        if gateway.startswith("https:") and not place.url.startswith("https:"):
            self._foreign(place, gateway, "would be spoken to without TLS")
        if self._trusts(place.url):
            return
        # A target may have joined since the map was read.
        await self.read_map(budget)
        if not self._trusts(place.url):
            self._foreign(place, gateway, "is not of the cluster map, and not among `redirect_hosts`")

    def _foreign(self, place: Redirect, gateway: str, why: str) -> NoReturn:
        raise ForeignRedirect(f"it sends to {place.url}, which {why}: nothing was sent there", peer=gateway)

    def _trusts(self, url: str) -> bool:
        peer = self._peer(url)
        if peer in self._vouched or peer in self.pool.peers:
            return True
        return not self.trusted.isdisjoint({peer.host, f"{peer.host}:{peer.port}"})

    def _peer(self, url: str) -> Peer:
        peer = self._peers.get(url)
        if peer is None:
            peer = self._peers[url] = _read(url)
        return peer

    async def _again(self, question: Request, once: Callable[[], Awaitable[T]], budget: Budget) -> T:
        """Do it, and again from the gateway on where that is safe: the target may be gone."""
        attempt = 0
        while True:
            attempt += 1
            error: TransportError | None = None
            answer: T | None = None
            fate = Fate.OPEN
            try:
                answer = await once()
            except _PASSING as e:
                error, fate = e, Fate.NOT_APPLIED if e.outcome is Outcome.NOT_SENT else Fate.OPEN
            else:
                verdict = question.judge(answer) if isinstance(answer, Response) else Verdict.FINAL
                if verdict in {Verdict.FINAL, Verdict.STALE_CREDENTIALS}:
                    return answer
                fate = Fate.NOT_APPLIED if verdict is Verdict.NOT_NOW else Fate.OPEN
            choice = decide(
                policy=self.retry,
                effect=question.effect,
                fate=fate,
                attempt=attempt,
                untried=0,
                peers=1,
                remaining=0.0 if spent(budget) else budget.left().total,
                random=self.random,
            )
            if isinstance(choice, GiveUp):
                if error is not None:
                    raise error
                assert answer is not None
                return answer
            await asyncio.sleep(choice.seconds)


def spent(budget: Budget) -> bool:
    """Whether a call's time is over; a budget never says 0 itself."""
    return budget.left().total <= LEAST


def _read(url: str) -> Peer:
    try:
        (peer,) = parse_peers(url, default_port=443 if url.startswith("https:") else 80)
    except ValueError as e:
        raise DecodeError(f"a node that cannot be reached by its URL: {e}") from e
    return peer


def _readable(url: str) -> Peer | None:
    try:
        return _read(url)
    except DecodeError:
        # One odd URL in the map must not cost the others.
        return None


async def _whole(stream: Stream) -> Response:
    """A short answer as an ordinary one."""
    body = b""
    while len(body) < REFUSAL and (piece := await stream.read()):
        body += piece
    return stream.response(body)
