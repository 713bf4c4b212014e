"""Upstreams: how they fare, their servers, and keeping these in step with what is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from aetcd.errors import Unsupported
from aetcd.nginx._applying import Progress, Work
from aetcd.nginx._codec import check_name
from aetcd.nginx._instance import Zones
from aetcd.nginx._models import HTTPUpstream, PeerStatus
from aetcd.nginx._reconcile import Plan, WantedLike, read_wanted
from aetcd.nginx._servers import NO_DRAIN, HTTPServers, StreamServers
from aetcd.nginx._stream_models import StreamUpstream

if TYPE_CHECKING:
    from aetcd.nginx._caller import Caller, Limit

__all__ = ["HTTPUpstreamHandle", "HTTPUpstreams", "StreamUpstreamHandle", "StreamUpstreams", "UpstreamHandle"]

U = TypeVar("U", HTTPUpstream, StreamUpstream)


class HTTPUpstreams(Zones[HTTPUpstream]):
    """All http upstreams with a `zone`: /http/upstreams/. Those without are told of nowhere."""

    path = ("http", "upstreams")
    kind = HTTPUpstream

    async def get(self, name: str, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> HTTPUpstream:
        """How one fares. (GET /http/upstreams/{httpUpstreamName}/.) Raises UpstreamNotFound, UpstreamStatic."""
        return await self._caller.object(self.kind, (*self.path, check_name(name), ""), fields, timeout)

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear the statistics of each of its servers, and `overflows` of the queue.

        These are `requests`, `responses`, `sent`, `received`, `fails`, `unavail`, the counters of `health_checks`,
        `downtime`, and the average times. Configuration, `state`, `active`, `keepalive` and `zombies` stay.
        (DELETE /http/upstreams/{httpUpstreamName}/.) Raises UpstreamNotFound, UpstreamStatic, MethodDisabled.
        """
        await self._caller.reset((*self.path, check_name(name), ""), timeout)


class StreamUpstreams(Zones[StreamUpstream]):
    """All stream upstreams with a `zone`: /stream/upstreams/. Those without are told of nowhere."""

    path = ("stream", "upstreams")
    kind = StreamUpstream

    async def get(self, name: str, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> StreamUpstream:
        """How one fares. (GET /stream/upstreams/{streamUpstreamName}/.) Raises UpstreamNotFound, UpstreamStatic."""
        return await self._caller.object(self.kind, (*self.path, check_name(name), ""), fields, timeout)

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear the statistics of each of its servers.

        These are `connections`, `sent`, `received`, `fails`, `unavail`, the counters of `health_checks`, `downtime`,
        and the average times. Configuration, `state`, `active` and `zombies` stay.
        (DELETE /stream/upstreams/{streamUpstreamName}/.) Raises UpstreamNotFound, UpstreamStatic, MethodDisabled.
        """
        await self._caller.reset((*self.path, check_name(name), ""), timeout)


class UpstreamHandle(ABC, Generic[U]):
    """One upstream. It must have a `zone` in the configuration, else its calls raise UpstreamStatic."""

    side: Literal["http", "stream"]
    kind: type[U]

    @property
    @abstractmethod
    def servers(self) -> HTTPServers | StreamServers:
        """Its servers: `list`, `add`, `get`, `modify`, `remove`, `drain`."""

    def __init__(self, caller: Caller, name: str) -> None:
        self.name = check_name(name)
        self._caller = caller
        self._path = (self.side, "upstreams", name)

    def __repr__(self) -> str:
        return f"<{self.side} upstream {self.name!r} at {self._caller.url}>"

    async def get(self, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> U:
        """How it fares. (GET /{http,stream}/upstreams/{name}/.)"""
        return await self._caller.object(self.kind, (*self._path, ""), fields, timeout)

    async def reset(self, *, timeout: Limit = None) -> None:
        """Clear the statistics of its servers and of its queue. `reset` of `upstreams` lists them."""
        await self._caller.reset((*self._path, ""), timeout)

    async def reconcile(
        self,
        wanted: Iterable[WantedLike],
        *,
        drain: float | None = None,
        dry_run: bool = False,
        allow_empty: bool = False,
        timeout: Limit = None,
    ) -> Plan:
        """Make the upstream have the servers that are wanted and no others, by the fewest requests; says what it did.

        One request reads the servers, and each that differs takes one. What is right is not touched. New servers are
        added first, then others changed, then others removed. It may be run again at any time, and by several at once
        that want the same; where one of these removed what another one changes, it plans anew.

        wanted: Addresses, `Wanted` values, or mappings with their members. What they do not say is left as it is; a
            server that drains is wanted again, and drains no more. Addresses are compared with those that
            `servers.list()` shows; servers that nginx made by resolving a name are left alone.
        drain: Seconds that servers to be removed have to end their sessions: they get requests of these only, and are
            removed when none came any more, or when the time is over. http upstreams only: else Unsupported.
        dry_run: Only says what would be done.
        allow_empty: Without it an empty `wanted` raises ValueError: a list that could not be read looks the same.
        timeout: Limits each request, not the whole.

        Raises what its requests raise. What was done until then stays done and is in the error's notes; a cancel leaves
        the same behind, and servers that drain are left draining. Run again, it goes on from there.
        """
        return await self._reconcile(
            wanted,
            drain=drain,
            dry_run=dry_run,
            allow_empty=allow_empty,
            timeout=timeout,
            progress=Progress(),
        )

    async def _reconcile(
        self,
        wanted: Iterable[WantedLike],
        *,
        drain: float | None,
        dry_run: bool,
        allow_empty: bool,
        timeout: Limit,
        progress: Progress,
    ) -> Plan:
        """As `reconcile`; `progress` tells how far it came where it raises."""
        stream = self.side == "stream"
        if drain is not None:
            if stream:
                raise Unsupported(NO_DRAIN)
            _check_drain(drain)
        read = read_wanted(wanted, stream=stream)
        if not read and not allow_empty:
            raise ValueError("wanted: it is empty, and allow_empty=True was not given")
        work = Work(self.servers, self._peers, read, stream, drain, timeout, progress)
        if not dry_run:
            return await work.run()
        plan, _ = await work.plan()
        return plan.as_dry_run()

    async def _peers(self) -> Sequence[PeerStatus]:
        return (await self.get(fields=("peers",))).peers


class HTTPUpstreamHandle(UpstreamHandle[HTTPUpstream]):
    """One http upstream."""

    side = "http"
    kind = HTTPUpstream

    def __init__(self, caller: Caller, name: str) -> None:
        super().__init__(caller, name)
        self._servers = HTTPServers(caller, self._path)

    @property
    def servers(self) -> HTTPServers:
        """Its servers."""
        return self._servers


class StreamUpstreamHandle(UpstreamHandle[StreamUpstream]):
    """One stream upstream."""

    side = "stream"
    kind = StreamUpstream

    def __init__(self, caller: Caller, name: str) -> None:
        super().__init__(caller, name)
        self._servers = StreamServers(caller, self._path)

    @property
    def servers(self) -> StreamServers:
        """Its servers."""
        return self._servers


def _check_drain(drain: float) -> None:
    if isinstance(drain, bool) or not isinstance(drain, int | float):
        raise TypeError(f"drain must be a number of seconds, not {drain!r}")
    if not 0 < drain < 86_400 * 365:
        raise ValueError(f"drain must be more than 0 seconds, not {drain!r}")
