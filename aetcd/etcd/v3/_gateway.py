"""One server's gateway: where its routes stand, and the way to ask it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, evolve, field, frozen

from aetcd._transport.timeouts import LEAST, Timeout
from aetcd._wire.decode import decode
from aetcd._wire.message import NO_HEADERS, Effect, Request, Response, judge_by_status
from aetcd.errors import ConnectFailed, TransportError
from aetcd.etcd.v3._codec import Route, Wire, body_of, gateway_prefix
from aetcd.etcd.v3._errors import error_of, fault_of
from aetcd.etcd.v3._guard import GRACE, Doubt, Guard, Seen
from aetcd.etcd.v3._models import ServerVersion
from aetcd.etcd.v3._namespace import Namespace

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel

__all__ = ["Gateway", "Group", "NamespacedGateway", "read_version", "version_request"]

T = TypeVar("T")

logger = logging.getLogger("aetcd")

SHUNNED = 60.0  # seconds for which a member of another cluster is not asked
CONFIRMED_WITHIN = 2.0  # seconds for a linearizable read to settle a doubt


def version_request() -> Request:
    """Asks what a server runs. Every etcd answers it, v2 included, and without credentials."""
    return Request(
        operation="version", method="GET", path="/version", effect=Effect.READ, judge=judge_by_status, headers={}
    )


def read_version(body: bytes) -> ServerVersion:
    """Read the answer to `version_request`. Raises DecodeError where another kind of server answered."""
    told = decode(body, dict[str, str])
    return ServerVersion(server=told.get("etcdserver", ""), cluster=told.get("etcdcluster", ""))


def present(prefix: str) -> Request:
    """Asks where the cluster is, by a linearizable read of a key that may be anyone's."""
    message = {"key": b"\0", "count_only": True}
    return Route(operation="v3 range", path="/kv/range", effect=Effect.READ).request(prefix, body_of(message))


def linearizable(message: Any) -> Any:
    """A request, or part of one, without the wish to be answered from a member's own copy."""
    if isinstance(message, dict):
        return {name: linearizable(value) for name, value in message.items() if name != "serializable"}
    return [linearizable(value) for value in message] if isinstance(message, list) else message


@define(eq=False)
class Gateway:
    """Asks the gateway, below the prefix that its server's version has.

    channel: The pool, with the credentials of this client.
    prefix: Found by `/version` at the first call where it is not given.
    guard: Judges what reads and writes of keys are answered, unless a peer was asked for by name; None for none.
    namespace: Where the caller's keys stand.
    """

    channel: Channel
    prefix: str | None = field(default=None, kw_only=True)
    guard: Guard | None = field(default=None, kw_only=True)
    namespace: Namespace = field(default=Namespace(), kw_only=True)

    # An answer's body as a value. No method of its own, for plain reads are hot.
    read = staticmethod(decode)

    @property
    def place(self) -> str:
        """Whom it asks, and below what, in words: what the `repr` of anything that asks by it tells, and no more."""
        pool, prefix = self.channel.pool, self.namespace.prefix
        return f"{f'below {prefix!r} ' if prefix else ''}at {pool.urls}{', closed' if pool.closed else ''}"

    def __repr__(self) -> str:
        return f"<Gateway {self.place}>"

    async def version(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> ServerVersion:
        """What the server runs."""
        request = version_request()
        # Anonymous, for the token is fetched through the gateway, which needs the prefix first.
        response = await self.channel.send(request, timeout=timeout, peer=peer, anonymous=True)
        if response.status != 200:
            fault = fault_of(response.body, response.status)
            raise error_of(fault, operation=request.operation, peer=response.peer)
        return read_version(response.body)

    async def resolve(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> str:
        """The prefix; it is asked for once.

        Raises Unsupported where the server speaks no v3.
        """
        if self.prefix is None:
            self.prefix = gateway_prefix((await self.version(timeout=timeout, peer=peer)).server)
        return self.prefix

    async def send(
        self,
        route: Route,
        message: Wire,
        *,
        effect: Effect | None = None,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
        anonymous: bool = False,
    ) -> bytes:
        """The body of the answer to one call; a refusal is raised as what it means."""
        response = await self.exchange(route, message, effect=effect, timeout=timeout, peer=peer, anonymous=anonymous)
        return response.body

    async def exchange(
        self,
        route: Route,
        message: Wire,
        *,
        effect: Effect | None = None,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
        anonymous: bool = False,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Response:
        """As `send`, with who answered, and with headers beside those that every call has."""
        prefix = self.prefix or await self.resolve(timeout=timeout, peer=peer)
        request = route.request(prefix, body_of(message), effect=effect)
        if headers:
            request = evolve(request, headers={**request.headers, **headers})
        guard = self.guard if route.guarded and peer is None else None
        if guard is None:
            response = await self.channel.send(request, timeout=timeout, peer=peer, anonymous=anonymous)
            route.check(response)
            return response
        before, started = guard.seen, guard.clock()
        response = await self.channel.send(request, timeout=timeout, anonymous=anonymous)
        route.check(response)
        doubt = guard.look(response.peer, response.body, before)
        if doubt is None:
            return response
        reads = request.effect is Effect.READ
        question = route.request(prefix, body_of(linearizable(message)), effect=effect) if reads else present(prefix)
        limits = self.channel.pool.timeout if timeout is None else Timeout.of(timeout)
        left = max(LEAST, min(CONFIRMED_WITHIN, limits.total - (guard.clock() - started)))
        return await self._settle(doubt, guard, before, question, response, reads, left)

    async def _settle(
        self,
        doubt: Doubt,
        guard: Guard,
        before: Seen,
        question: Request,
        response: Response,
        reads: bool,
        seconds: float,
    ) -> Response:
        """Find out whether the member is wrong, or all that was seen before: by a linearizable read elsewhere.

        What is answered is the answer to that, where a read was asked for and it comes in time.
        """
        pool = self.channel.pool
        if doubt is not Doubt.LATE:
            pool.distrust(response.peer, doubt.value, seconds=SHUNNED if doubt is Doubt.FOREIGN else GRACE)
        try:
            confirmed = await self.channel.send(question, timeout=seconds)
        except TransportError:
            return response  # without a quorum an older answer is better than none
        if confirmed.status != 200:
            return response
        if guard.look(confirmed.peer, confirmed.body, before) is not None and guard.reset(confirmed.body):
            logger.warning("the cluster is another one, or was restored: at %s, %s", confirmed.peer, doubt.value)
            pool.trust_again()
            pool.break_streams(ConnectFailed("the cluster is another one, or was restored", peer=confirmed.peer))
        return confirmed if reads else response

    async def ask(
        self,
        route: Route,
        message: Wire,
        kind: type[T],
        *,
        effect: Effect | None = None,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
        anonymous: bool = False,
    ) -> T:
        """As `send`, with the answer read into `kind`."""
        body = await self.send(route, message, effect=effect, timeout=timeout, peer=peer, anonymous=anonymous)
        return decode(body, kind)


@define(eq=False, repr=False)
class NamespacedGateway(Gateway):
    """Asks another gateway, which knows no namespace, with keys put below a prefix, and takes it from those told.

    outer: Its prefix and guard go for this one too.
    """

    outer: Gateway = field(kw_only=True)

    @classmethod
    def of(cls, gateway: Gateway, prefix: bytes) -> NamespacedGateway:
        """What the gateway knows as keys below `prefix`."""
        outer = gateway.outer if isinstance(gateway, NamespacedGateway) else gateway
        namespace = Namespace(gateway.namespace.prefix + prefix)
        return cls(outer.channel, guard=outer.guard, namespace=namespace, outer=outer)

    async def resolve(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> str:
        """As `Gateway.resolve`."""
        return await self.outer.resolve(timeout=timeout, peer=peer)

    async def exchange(self, route: Route, message: Wire, **options: Any) -> Response:
        """As `Gateway.exchange`."""
        return await self.outer.exchange(route, self.namespace.enter(message), **options)

    def read(self, body: bytes, kind: type[T]) -> T:
        """An answer's body as a value."""
        return self.namespace.leave(decode(body, kind))


@frozen(repr=False)
class Group:
    """Calls that belong together, and the gateway that they ask."""

    _gateway: Gateway

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._gateway.place}>"
