"""The servers of one upstream: /{http,stream}/upstreams/{name}/servers/ and /servers/{id}."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aetcd.errors import Unsupported
from aetcd.nginx._codec import check_server_id
from aetcd.nginx._reading import read, read_list
from aetcd.nginx._server_models import HTTPServer, Seconds, Server, StreamServer, body_of

if TYPE_CHECKING:
    from aetcd.nginx._caller import Caller, Limit

__all__ = ["HTTPServers", "Servers", "StreamServers"]

S = TypeVar("S", bound=Server)

NO_DRAIN = "a stream upstream's servers cannot be drained: the API knows `drain` for http upstreams only"


class Servers(Generic[S]):
    """What servers of http and of stream upstreams have in common.

    Each of these may raise UpstreamNotFound and UpstreamStatic, and writes MethodDisabled. A write whose answer was
    lost raises OutcomeUnknown and is not sent again.
    """

    kind: type[S]

    def __init__(self, caller: Caller, path: tuple[str, ...]) -> None:
        self._caller = caller
        self._path = (*path, "servers")

    async def list(self, *, timeout: Limit = None) -> list[S]:
        """All of them, with those that names were resolved to. (GET .../servers/.)"""
        return read_list(self.kind, await self._caller.ask(self._caller.get((*self._path, "")), timeout))

    async def get(self, id: int, *, timeout: Limit = None) -> S:
        """One of them. (GET .../servers/{id}.) Raises UpstreamServerNotFound."""
        return await self._caller.object(self.kind, (*self._path, str(check_server_id(id))), timeout=timeout)

    async def remove(self, id: int, *, timeout: Limit = None) -> builtins.list[S]:
        """Take one out; gives those that remain. (DELETE .../servers/{id}.)

        What it is serving goes on. Raises UpstreamServerNotFound, and UpstreamServerImmutable for one that was found by
        resolving a name.
        """
        path = (*self._path, str(check_server_id(id)))
        return read_list(self.kind, await self._caller.write("DELETE", path, timeout=timeout))

    async def _add(self, parameters: Mapping[str, Any], timeout: Limit) -> S:
        body_of(parameters, 3)  # bad arguments are told before anything is sent, the question for versions included
        path = (*self._path, "")
        answer = await self._caller.write("POST", path, lambda version: body_of(parameters, version), timeout)
        return read(self.kind, answer)

    async def _modify(self, id: int, parameters: Mapping[str, Any], timeout: Limit) -> S:
        path = (*self._path, str(check_server_id(id)))
        if not body_of(parameters, 3):
            raise ValueError("modify() needs at least one parameter to be changed")
        answer = await self._caller.write("PATCH", path, lambda version: body_of(parameters, version), timeout)
        return read(self.kind, answer)


class HTTPServers(Servers[HTTPServer]):
    """Servers of an http upstream.

    They are /http/upstreams/{httpUpstreamName}/servers/ and
    /http/upstreams/{httpUpstreamName}/servers/{httpUpstreamServerId}.
    """

    kind = HTTPServer

    async def add(
        self,
        server: str,
        *,
        weight: int | None = None,
        max_conns: int | None = None,
        max_fails: int | None = None,
        fail_timeout: Seconds | None = None,
        slow_start: Seconds | None = None,
        route: str | None = None,
        backup: bool | None = None,
        service: str | None = None,
        down: bool | None = None,
        drain: bool | None = None,
        timeout: Limit = None,
    ) -> HTTPServer:
        """Put one in; gives it with its ID. (POST /http/upstreams/{httpUpstreamName}/servers/.)

        server: An address, or a name that nginx is to resolve, and to go on resolving. Port 80 by default.
        service: Resolve the name by the DNS SRV records of this service; the name has no port then.
        The others are as in `HTTPServer`; what is None has nginx's default.

        nginx makes no difference for an address that is there already: it is then there twice. Raises
        UpstreamConfFormatError, UpstreamBadAddress and its like, UpstreamConfNoResolver, UpstreamNoBackup,
        UpstreamOutOfMemory.
        """
        parameters = {
            "server": server,
            "weight": weight,
            "max_conns": max_conns,
            "max_fails": max_fails,
            "fail_timeout": fail_timeout,
            "slow_start": slow_start,
            "route": route,
            "backup": backup,
            "service": service,
            "down": down,
            "drain": drain,
        }
        return await self._add(parameters, timeout)

    async def modify(
        self,
        id: int,
        *,
        server: str | None = None,
        weight: int | None = None,
        max_conns: int | None = None,
        max_fails: int | None = None,
        fail_timeout: Seconds | None = None,
        slow_start: Seconds | None = None,
        route: str | None = None,
        down: bool | None = None,
        drain: bool | None = None,
        timeout: Limit = None,
    ) -> HTTPServer:
        """Change what is given of one; gives all of it. (PATCH .../servers/{httpUpstreamServerId}.)

        `backup` and `service` cannot be changed: remove and add it for that. Raises UpstreamServerNotFound,
        UpstreamServerImmutable, UpstreamServerWeightImmutable, and what `add` raises for bad parameters.
        """
        parameters = {
            "server": server,
            "weight": weight,
            "max_conns": max_conns,
            "max_fails": max_fails,
            "fail_timeout": fail_timeout,
            "slow_start": slow_start,
            "route": route,
            "down": down,
            "drain": drain,
        }
        return await self._modify(id, parameters, timeout)

    async def drain(self, id: int, *, timeout: Limit = None) -> HTTPServer:
        """Send it requests of its own sessions only; `modify(id, drain=False)` ends that."""
        return await self.modify(id, drain=True, timeout=timeout)


class StreamServers(Servers[StreamServer]):
    """Servers of a stream upstream.

    They are /stream/upstreams/{streamUpstreamName}/servers/ and
    /stream/upstreams/{streamUpstreamName}/servers/{streamUpstreamServerId}.
    """

    kind = StreamServer

    async def add(
        self,
        server: str,
        *,
        weight: int | None = None,
        max_conns: int | None = None,
        max_fails: int | None = None,
        fail_timeout: Seconds | None = None,
        slow_start: Seconds | None = None,
        backup: bool | None = None,
        service: str | None = None,
        down: bool | None = None,
        drain: bool | None = None,
        timeout: Limit = None,
    ) -> StreamServer:
        """Put one in; gives it with its ID. (POST /stream/upstreams/{streamUpstreamName}/servers/.)

        As `HTTPServers.add`, but the address needs a port where there is no `service`, and `drain` raises Unsupported.
        """
        _no_drain(drain)
        parameters = {
            "server": server,
            "weight": weight,
            "max_conns": max_conns,
            "max_fails": max_fails,
            "fail_timeout": fail_timeout,
            "slow_start": slow_start,
            "backup": backup,
            "service": service,
            "down": down,
        }
        return await self._add(parameters, timeout)

    async def modify(
        self,
        id: int,
        *,
        server: str | None = None,
        weight: int | None = None,
        max_conns: int | None = None,
        max_fails: int | None = None,
        fail_timeout: Seconds | None = None,
        slow_start: Seconds | None = None,
        down: bool | None = None,
        drain: bool | None = None,
        timeout: Limit = None,
    ) -> StreamServer:
        """Change what is given of one; gives all of it. (PATCH .../servers/{streamUpstreamServerId}.)

        As `HTTPServers.modify`, but `drain` raises Unsupported.
        """
        _no_drain(drain)
        parameters = {
            "server": server,
            "weight": weight,
            "max_conns": max_conns,
            "max_fails": max_fails,
            "fail_timeout": fail_timeout,
            "slow_start": slow_start,
            "down": down,
        }
        return await self._modify(id, parameters, timeout)

    async def drain(self, id: int, *, timeout: Limit = None) -> StreamServer:
        """Raises Unsupported: only http upstreams know it."""
        raise Unsupported(NO_DRAIN)


def _no_drain(drain: bool | None) -> None:
    if drain is not None:
        raise Unsupported(NO_DRAIN)
