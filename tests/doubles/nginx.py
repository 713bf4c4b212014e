"""A double of the NGINX Plus API on a real socket, after its reference: no NGINX Plus can be had for tests.

It keeps state as an instance does, and its answers follow from that state: nothing is made up for one test. What the
reference leaves open is marked as assumed, where it is decided. A request that no version of the API knows is answered
by 500 and raises AssertionError when the double is left.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from attrs import frozen
from doubles.nginx_errors import Refused, Unforeseen
from doubles.nginx_instance import Instance
from doubles.nginx_upstreams import Server, Upstream

__all__ = ["NginxDouble", "Seen"]

MAX_BODY = 2**20  # bytes, nginx's default client_max_body_size


@frozen
class Seen:
    """A request as it came. target: The path and the query, as they were encoded."""

    method: str
    target: str
    body: bytes
    headers: dict[str, str]

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


class NginxDouble:
    """One instance, and the server that its API listens on.

    versions: Served by it: 1 to 9, or what a release of some age knew.
    location: Of the directive `api`; with a slash at its end it does not serve the path without one.
    write: `api write=on`.
    settings: Of `Instance`.
    """

    def __init__(
        self,
        versions: Iterable[int] = range(1, 10),
        *,
        location: str = "/api",
        write: bool = True,
        port: int = 0,
        **settings: Any,
    ) -> None:
        self._offset = 0.0
        self.instance = Instance(tuple(versions), self._clock, write=write, **settings)
        self.location = location
        self.seen: list[Seen] = []
        self.unforeseen: list[str] = []
        self.delay = 0.0
        self.chunked = False
        self.cut: Callable[[Seen], bool] = lambda seen: False
        self.before: Callable[[Seen], object] = lambda seen: None
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()

    # Its life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None:
            assert not self.unforeseen, f"no client should have asked for {self.unforeseen}"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._stopping.clear()
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more; the state stays."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return self.origin + self.location

    # What tests look at and do

    def upstream(self, name: str = "backend", side: str = "http") -> Upstream:
        return self.instance.upstreams[side][name]

    def servers(self, name: str = "backend", side: str = "http") -> list[str]:
        """Addresses, in the order of IDs."""
        return [server.server for server in self.upstream(name, side).servers.values()]

    def server(self, address: str, name: str = "backend", side: str = "http") -> Server:
        return self.upstream(name, side).at(address)

    def pairs(self, name: str = "one", side: str = "http") -> dict[str, str]:
        return self.instance.keyvals[side][name].content()

    def writes(self) -> list[str]:
        """Requests that were no reads, without location and version: `POST /http/upstreams/backend/servers/`."""
        start = re.escape(self.location.rstrip("/")) + r"/[0-9]+"
        return [f"{seen.method} {re.sub(start, '', seen.target)}" for seen in self.seen if seen.method != "GET"]

    def elapse(self, seconds: float) -> None:
        """Let time go by for what expires."""
        self._offset += seconds

    def _clock(self) -> float:
        return asyncio.get_running_loop().time() + self._offset

    # Answering

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        seen = Seen(request.method, request.raw_path, body, dict(request.headers))
        self.seen.append(seen)
        self.before(seen)
        status, kind, content = self._answer(seen)
        if self.delay:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.delay):
                    await self._stopping.wait()
        if self.cut(seen):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return await self._send(request, status, kind, content)

    async def _send(self, request: web.BaseRequest, status: int, kind: str, content: bytes) -> web.StreamResponse:
        if not self.chunked or not content:
            return web.Response(status=status, body=content or None, headers={"Content-Type": kind} if content else {})
        response = web.StreamResponse(status=status, headers={"Content-Type": kind})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(content), 7):
            await response.write(content[start : start + 7])
        await response.write_eof()
        return response

    def _answer(self, seen: Seen) -> tuple[int, str, bytes]:
        """Status, type and content."""
        raw, _, query = seen.target.partition("?")
        prefix = self.location.rstrip("/")
        if raw == self.location or raw == prefix + "/":
            return 200, "application/json", json.dumps(list(self.instance.versions)).encode()
        if not raw.startswith(prefix + "/"):
            return _page(404, "Not Found")
        if len(seen.body) > MAX_BODY:
            return _page(413, "Request Entity Too Large")
        version, *path = raw.removeprefix(prefix + "/").removesuffix("/").split("/")
        spoken = int(version) if version.isdecimal() else max(self.instance.versions)
        names = tuple(unquote(name) for name in path)
        try:
            if spoken not in self.instance.versions or not version.isdecimal():
                raise Refused("UnknownVersion", "unknown version")
            given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
            status, value = self.instance.answer(seen.method, names, given, seen.body, spoken)
        except Refused as e:
            body = e.body(spoken, max(self.instance.versions), raw, seen.method, uuid.uuid4().hex)
            return e.status, "application/json", body
        except Unforeseen as e:
            self.unforeseen.append(f"{seen}: {e}")
            return _page(500, "Internal Server Error")
        return status, "application/json", b"" if value is None else json.dumps(value).encode()


def _page(status: int, text: str) -> tuple[int, str, bytes]:
    """nginx's own page."""
    page = (
        f"<html>\r\n<head><title>{status} {text}</title></head>\r\n<body>\r\n<center><h1>{status} {text}</h1></center>"
    )
    return status, "text/html", f"{page}\r\n<hr><center>nginx/1.15.3</center>\r\n</body>\r\n</html>\r\n".encode()
