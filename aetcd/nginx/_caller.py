"""What every group of endpoints asks through: the channel, and the version that is spoken on it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aetcd._transport.timeouts import Budget, Timeout
from aetcd.errors import Outcome, RequestTimeout, Unsupported
from aetcd.nginx._codec import (
    KNOWN,
    api_path,
    check_fields,
    check_since,
    read_names,
    read_request,
    read_versions,
    reset_request,
    result,
    versions_request,
    write_request,
)
from aetcd.nginx._errors import NotTheAPI, PathNotFound, UnknownVersion
from aetcd.nginx._reading import Model, read, read_map

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel
    from aetcd._wire.message import Request

__all__ = ["Caller"]

M = TypeVar("M", bound=Model)

Limit = Timeout | float | None


class Caller:
    """Asks one instance, in the newest version that both sides know or in the one that was pinned.

    url: Of the instance, for reports. slash: What the user wrote at its end.
    """

    def __init__(self, channel: Channel, url: str, slash: str, version: int | None) -> None:
        self.channel = channel
        self.url = url
        self._slashes = (slash, "/" if not slash else "")
        self._pinned = version
        self._agreed = version
        self._agreeing = asyncio.Lock()

    @property
    def agreed(self) -> int | None:
        """The version that is spoken, or None where that is not known yet."""
        return self._agreed

    async def versions(self, timeout: Limit = None) -> list[int]:
        """The versions that the server serves, in its own order."""
        budget = self._budget(timeout)
        request = versions_request(self._slashes[0])
        try:
            return read_versions(request, await self.channel.send(request, timeout=budget.left()))
        except (NotTheAPI, PathNotFound) as e:
            # `location /api/` knows nothing of /api, and `location = /api` nothing of /api/.
            other = versions_request(self._slashes[1])
            try:
                return read_versions(other, await self.channel.send(other, timeout=budget.left()))
            except (NotTheAPI, PathNotFound):
                raise e from None

    async def version(self, timeout: Limit = None) -> int:
        """The version that is spoken; the first call asks for it, and calls at the same time wait for its answer.

        Raises Unsupported where the two sides have none in common.
        """
        if self._agreed is not None:
            return self._agreed
        budget = self._budget(timeout)
        total = budget.left().total
        try:
            async with asyncio.timeout(None if total == math.inf else total):
                await self._agreeing.acquire()
        except TimeoutError as e:
            text = "no answer in time to the question for versions"
            raise RequestTimeout(text, outcome=Outcome.NOT_SENT, peer=self.url, operation="nginx versions") from e
        try:
            if self._agreed is None:
                served = await self.versions(budget.left())
                common = [version for version in served if version in KNOWN]
                if not common:
                    raise Unsupported(f"{self.url} serves versions {served} of the API, and none of {list(KNOWN)}")
                self._agreed = max(common)
            return self._agreed
        finally:
            self._agreeing.release()

    async def ask(self, make: Callable[[int], Request], timeout: Limit = None) -> Any:
        """The JSON of an answer. `make` gets the version; it raises Unsupported for what that one lacks."""
        budget = self._budget(timeout)
        version = await self.version(budget.left())
        request = make(version)
        try:
            return result(request, await self.channel.send(request, timeout=budget.left()))
        except UnknownVersion:
            # Another server stands there than the one that was asked: the next call asks anew.
            self._agreed = self._pinned
            raise

    async def object(
        self, kind: type[M], path: tuple[str, ...], fields: Iterable[str] | None = None, timeout: Limit = None
    ) -> M:
        """GET of one object."""
        checked = check_fields(fields)
        return read(kind, await self.ask(self.get(path, checked), timeout), checked)

    async def collection(
        self, kind: type[M], path: tuple[str, ...], fields: Iterable[str] | None = None, timeout: Limit = None
    ) -> dict[str, M]:
        """GET of a collection, by name."""
        checked = check_fields(fields)
        return read_map(kind, await self.ask(self.get((*path, ""), checked), timeout), checked)

    async def names(self, path: tuple[str, ...], timeout: Limit = None, *, fields: bool = True) -> list[str]:
        """GET of names alone: by an empty `fields=` where a collection would answer whole objects."""
        make = self.get((*path, ""), () if fields else None)
        return read_names(make(KNOWN[-1]), await self.ask(make, timeout))

    async def reset(self, path: tuple[str, ...], timeout: Limit = None) -> None:
        """DELETE of counters."""

        def make(version: int) -> Request:
            check_since("/".join(path[:2]), version)
            check_since(path[0], version)
            return reset_request(_operation("reset", path), api_path(version, *path))

        await self.ask(make, timeout)

    async def write(
        self,
        method: str,
        path: tuple[str, ...],
        document: Callable[[int], Mapping[str, Any]] | None = None,
        timeout: Limit = None,
    ) -> Any:
        """POST, PATCH or DELETE of what is configured. `document` gets the version."""

        def make(version: int) -> Request:
            check_since("/".join(path[:2]), version)
            body = None if document is None else document(version)
            return write_request(_operation(method.lower(), path), method, api_path(version, *path), body)

        return await self.ask(make, timeout)

    def get(
        self, path: tuple[str, ...], fields: Iterable[str] | None = None, *, key: str | None = None
    ) -> Callable[[int], Request]:
        """A GET in any version that has it."""

        def make(version: int) -> Request:
            check_since("/".join(path[:2]), version)
            check_since(path[0], version)
            return read_request(_operation("get", path), api_path(version, *path), fields, key)

        return make

    def _budget(self, timeout: Limit) -> Budget:
        limits = self.channel.pool.timeout if timeout is None else timeout
        return Budget(limits, asyncio.get_running_loop().time)


def _operation(verb: str, path: tuple[str, ...]) -> str:
    """What errors and traces call it: without a zone's name, of which there may be thousands."""
    return f"nginx {verb} {'/'.join(path[:2] if path[0] in {'http', 'stream'} else path[:1])}"
