"""Statistics as a stream: an instance looked at again and again."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attrs import frozen

from aetcd.errors import PASSING, AetcdError
from aetcd.nginx._codec import SINCE
from aetcd.nginx._errors import PathNotFound
from aetcd.nginx._gathering import each
from aetcd.nginx._movement import PeerChanged, Sample, Snapshot, compare, peer_changes

if TYPE_CHECKING:
    from aetcd.nginx._client import Nginx
    from aetcd.nginx._models import Info

__all__ = ["Missed", "Samples"]


@frozen(kw_only=True)
class Missed:
    """A look that failed for a reason that passes, such as an instance that is starting."""

    error: AetcdError


class Samples:
    """What `Nginx.watch` gives: an iterator of `Sample`, `PeerChanged` and `Missed`, inside `async with`.

    first: The look that was taken when the block was entered.
    """

    first: Snapshot

    def __init__(self, nginx: Nginx, interval: float) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int | float):
            raise TypeError(f"interval must be a number of seconds, not {interval!r}")
        if not 0 < interval < math.inf:
            raise ValueError(f"interval must be more than 0 seconds, not {interval!r}")
        self._nginx = nginx
        self._interval = interval
        self._last: Snapshot | None = None
        self._due = 0.0
        self._ready: deque[Sample | PeerChanged | Missed] = deque()
        self._parts: dict[str, Callable[[], Awaitable[Any]]] = {}

    async def __aenter__(self) -> Self:
        self.first = self._last = await self._look()
        self._due = self.first.taken_at + self._interval
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sample | PeerChanged | Missed:
        if self._last is None:
            raise RuntimeError("samples are read inside `async with nginx.watch(...) as samples`")
        if not self._ready:
            clock = asyncio.get_running_loop().time
            await asyncio.sleep(max(0.0, self._due - clock()))
            # Looks that were missed while nobody read are not caught up.
            now, self._due = clock(), self._due + self._interval
            if self._due < now:
                self._due = now + self._interval
            self._ready.extend(await self._next(self._last))
        return self._ready.popleft()

    async def _next(self, last: Snapshot) -> list[Sample | PeerChanged | Missed]:
        try:
            self._last = now = await self._look()
        except PASSING as e:
            self._parts = {}
            return [Missed(error=e)]
        return [*peer_changes(last, now), compare(last, now)]

    async def _look(self) -> Snapshot:
        """The instance now. What it has may be other after a reload, and is asked for again then."""
        info = await self._nginx.info()
        known = self._last and self._last.info
        if not self._parts or not known or _loaded(known) != _loaded(info):
            self._parts = await self._list_parts()
        taken_at = asyncio.get_running_loop().time()
        found: dict[str, Any] = {}

        async def fetch(name: str) -> None:
            try:
                found[name] = await self._parts[name]()
            except PathNotFound:
                found[name] = {}  # gone with a reload since the parts were listed

        await each(self._parts, fetch)
        return Snapshot(taken_at=taken_at, info=info, **found)

    async def _list_parts(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        """What there is to be asked for: an endpoint that the server does not list is left alone."""
        nginx = self._nginx
        http = await nginx.http.endpoints()
        stream: list[str] = []
        if "stream" in await nginx.endpoints():
            with suppress(PathNotFound):
                stream = await nginx.stream.endpoints()
        parts: dict[str, Callable[[], Awaitable[Any]]] = {
            "connections": nginx.connections.get,
            "http_requests": nginx.http.requests.get,
        }
        if "server_zones" in http:
            parts["http_zones"] = nginx.http.server_zones.list
        if "location_zones" in http and await nginx.version() >= SINCE["http/location_zones"]:
            parts["http_locations"] = nginx.http.location_zones.list
        if "upstreams" in http:
            parts["http_upstreams"] = nginx.http.upstreams.list
        if "server_zones" in stream:
            parts["stream_zones"] = nginx.stream.server_zones.list
        if "upstreams" in stream:
            parts["stream_upstreams"] = nginx.stream.upstreams.list
        return parts


def _loaded(info: Info) -> tuple[object, ...]:
    """What is another after each reload and restart."""
    return info.ppid, info.generation, info.load_timestamp
