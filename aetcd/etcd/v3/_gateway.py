"""One server's gateway: where its routes stand, and the way to ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from aetcd._wire.decode import decode
from aetcd._wire.message import Effect, Request, Response, judge_by_status
from aetcd.etcd.v3._codec import Route, Wire, body_of, gateway_prefix, read_renamed
from aetcd.etcd.v3._errors import error_of, fault_of
from aetcd.etcd.v3._models import ServerVersion

if TYPE_CHECKING:
    from aetcd._transport.pool import Channel
    from aetcd._transport.timeouts import Timeout

__all__ = ["Gateway", "read_version", "version_request"]

T = TypeVar("T")


def version_request() -> Request:
    """Asks what a server runs. Every etcd answers it, v2 included, and without credentials."""
    return Request(
        operation="version", method="GET", path="/version", effect=Effect.READ, judge=judge_by_status, headers={}
    )


def read_version(body: bytes) -> ServerVersion:
    """Read the answer to `version_request`. Raises DecodeError where another kind of server answered."""
    told = decode(body, dict[str, str])
    return ServerVersion(server=told.get("etcdserver", ""), cluster=told.get("etcdcluster", ""))


@define(eq=False)
class Gateway:
    """Asks the gateway, below the prefix that its server's version has.

    channel: The pool, with the credentials of this client.
    prefix: Found by `/version` at the first call where it is not given.
    """

    channel: Channel
    prefix: str | None = field(default=None, kw_only=True)

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
    ) -> Response:
        """As `send`, with who answered."""
        prefix = self.prefix or await self.resolve(timeout=timeout, peer=peer)
        request = route.request(prefix, body_of(message), effect=effect)
        response = await self.channel.send(request, timeout=timeout, peer=peer, anonymous=anonymous)
        route.check(response)
        return response

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
        """As `send`, with an answer whose names are mixed read into `kind`."""
        body = await self.send(route, message, effect=effect, timeout=timeout, peer=peer, anonymous=anonymous)
        return read_renamed(body, kind)
