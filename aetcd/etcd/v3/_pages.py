"""A range in pages: where each is asked for, so that all of them are of one revision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, evolve, field
from msgspec.structs import replace

from aetcd._transport.timeouts import Budget, Timeout
from aetcd.errors import RevisionInFuture, ServerError, TransportError
from aetcd.etcd.v3._codec import Route, Wire
from aetcd.etcd.v3._gateway import Gateway, linearizable
from aetcd.etcd.v3._models import RangeResponse

if TYPE_CHECKING:
    from aetcd._wire.message import Response

__all__ = ["Pages"]


@define(eq=False)
class Pages:
    """Asks for one page after the other.

    Linearizable pages come from any member, for it catches up with the first one's revision before it answers. Its own
    copy may be behind that revision: so pages of own copies stay with the member that gave the one before, as long as
    it answers. Where another has to go on and is behind, it is asked for a linearizable page.

    message: The request for the next page.
    peer: Asked by name by the caller, and then for all pages.
    """

    gateway: Gateway
    route: Route
    message: Wire
    timeout: float | Timeout | None
    peer: str | None
    _count: int | None = field(default=None, init=False)
    _keeper: str | None = field(default=None, init=False)

    async def next(self) -> RangeResponse:
        """The next page. Its `count` is the whole range's, though the server counts from the page's first key on."""
        response = await (self._stay() if self._keeper else self._ask(self.message, self.timeout))
        page = self.gateway.read(response.body, RangeResponse)
        if self._count is None:
            self._count = page.count
        if page.more:
            self._go_on(page, response.peer)
        return replace(page, count=self._count)

    def _go_on(self, page: RangeResponse, peer: str) -> None:
        self.message["key"] = page.kvs[-1].key + b"\0"
        self.message.setdefault("revision", page.header.revision)
        if self.message.get("serializable"):
            self._keeper = peer

    async def _stay(self) -> Response:
        """Of the member that gave the page before; where it does not answer, of another one."""
        pool = self.gateway.channel.pool
        limits = pool.timeout if self.timeout is None else Timeout.of(self.timeout)
        budget = Budget(limits, asyncio.get_running_loop().time)
        if self.peer is None and len(pool.peers) > 1:
            try:
                return await self._ask(self.message, _impatient(limits), self._keeper)
            except (TransportError, ServerError):
                pass  # whatever it was, another member's word is final
        try:
            return await self._ask(self.message, budget.left())
        except RevisionInFuture:
            return await self._ask(linearizable(self.message), budget.left())

    async def _ask(self, message: Wire, timeout: float | Timeout | None, peer: str | None = None) -> Response:
        return await self.gateway.exchange(self.route, message, timeout=timeout, peer=peer or self.peer)


def _impatient(limits: Timeout) -> Timeout:
    # To a peer asked by name, the pool leaves all of the time.
    return evolve(limits, connect=limits.connect or limits.attempt, read=limits.read or limits.attempt)
