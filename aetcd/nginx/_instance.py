"""What an instance tells of itself: a class for each endpoint outside `http` and `stream`.

The sources named are the paths of the API's reference, http://nginx.org/en/docs/http/ngx_http_api_module.html.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

from aetcd.errors import DecodeError
from aetcd.nginx._codec import check_fields, check_name, check_server_id
from aetcd.nginx._models import SSL, Connections, Processes, Resolver, Slab, Worker
from aetcd.nginx._reading import Model, read_list, read_map

if TYPE_CHECKING:
    from aetcd.nginx._caller import Caller, Limit

__all__ = [
    "ConnectionStatistics",
    "ProcessStatistics",
    "ResolverZones",
    "SSLStatistics",
    "SlabZones",
    "Workers",
    "Zones",
]

M = TypeVar("M", bound=Model)


class ProcessStatistics:
    """GET and DELETE /processes."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(self, *, timeout: Limit = None) -> Processes:
        """Child processes that ended abnormally. (GET /processes, which takes no `fields`.)"""
        return await self._caller.object(Processes, ("processes",), timeout=timeout)

    async def reset(self, *, timeout: Limit = None) -> None:
        """Clear `respawned`. (DELETE /processes.) Raises MethodDisabled."""
        await self._caller.reset(("processes",), timeout)


class ConnectionStatistics:
    """GET and DELETE /connections."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(self, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> Connections:
        """Client connections. (GET /connections.)"""
        return await self._caller.object(Connections, ("connections",), fields, timeout)

    async def reset(self, *, timeout: Limit = None) -> None:
        """Clear `accepted` and `dropped`; `active` and `idle` stay. (DELETE /connections.) Raises MethodDisabled."""
        await self._caller.reset(("connections",), timeout)


class SSLStatistics:
    """GET and DELETE /ssl."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(self, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> SSL:
        """TLS handshakes. (GET /ssl.)"""
        return await self._caller.object(SSL, ("ssl",), fields, timeout)

    async def reset(self, *, timeout: Limit = None) -> None:
        """Clear the counters of handshakes (`handshakes`, `handshakes_failed`) and `session_reuses`. (DELETE /ssl.)

        From version 8 on the reasons of failed handshakes go with them. Raises MethodDisabled.
        """
        await self._caller.reset(("ssl",), timeout)


class Zones(Generic[M]):
    """A collection of zones by name: GET of all, of the names, and of one."""

    path: tuple[str, ...]
    kind: type[M]

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> dict[str, M]:
        """All of them, by name. (GET of the collection.)

        fields: The members to be told of each; the others are then `NOT_ASKED`.
        """
        return await self._caller.collection(self.kind, self.path, fields, timeout)

    async def names(self, *, timeout: Limit = None) -> builtins.list[str]:
        """Their names alone. (GET of the collection with an empty `fields=`.)"""
        return await self._caller.names(self.path, timeout)

    async def get(self, name: str, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> M:
        """One of them. (GET of the zone.) Raises the class of its own 404, such as SlabNotFound."""
        return await self._caller.object(self.kind, (*self.path, check_name(name)), fields, timeout)

    async def _reset(self, name: str, timeout: Limit) -> None:
        await self._caller.reset((*self.path, check_name(name)), timeout)


class SlabZones(Zones[Slab]):
    """Shared memory zones: /slabs/ and /slabs/{slabZoneName}."""

    path = ("slabs",)
    kind = Slab

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear `reqs` and `fails` of each slot; `used` and `free` stay. (DELETE /slabs/{slabZoneName}.)

        Raises SlabNotFound, MethodDisabled.
        """
        await self._reset(name, timeout)


class ResolverZones(Zones[Resolver]):
    """Resolvers with a `status_zone`: /resolvers/ and /resolvers/{resolverZoneName}, from version 5 on."""

    path = ("resolvers",)
    kind = Resolver

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear all of its `requests` and `responses`. (DELETE /resolvers/{resolverZoneName}.)

        Raises ResolverZoneNotFound, MethodDisabled.
        """
        await self._reset(name, timeout)


class Workers:
    """Worker processes: /workers/ and /workers/{workerId}, from version 9 on."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> dict[int, Worker]:
        """All of them, by ID. (GET /workers/.)

        The reference says a collection by ID; servers were seen to send an array. Both are read.
        """
        checked = check_fields(fields)
        if checked is not None and "id" not in checked:
            checked = ("id", *checked)  # an array tells the ID nowhere else
        value = await self._caller.ask(self._caller.get(("workers", ""), checked), timeout)
        if isinstance(value, dict):
            try:
                return {int(id_): worker for id_, worker in read_map(Worker, value, checked).items()}
            except ValueError as e:
                raise DecodeError(f"nginx get workers: an ID is no number: {e}") from e
        return {worker.id: worker for worker in read_list(Worker, value, checked)}

    async def get(self, id: int, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> Worker:
        """One of them. (GET /workers/{workerId}.) Raises WorkerNotFound."""
        return await self._caller.object(Worker, ("workers", str(check_server_id(id))), fields, timeout)

    async def reset(self, id: int | None = None, *, timeout: Limit = None) -> None:
        """Clear the totals of one worker, or of all. (DELETE /workers/{workerId}, DELETE /workers/.)

        These are `accepted` and `dropped` connections and `total` requests. Raises WorkerNotFound, MethodDisabled.
        """
        await self._caller.reset(("workers", "" if id is None else str(check_server_id(id))), timeout)
