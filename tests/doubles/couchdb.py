"""A CouchDB 3.5.0 of our own: a stateful aiohttp.web server on real sockets of 127.0.0.1.

    async with CouchDBDouble(admin=("admin", "secret"), users={"bob": ("pw", ["role"])}) as couch:
        couch.url                           # http://127.0.0.1:40123, node 0
        couch.create("orders")              # state set by hand, without HTTP: create, destroy, write, read, add_user
        couch.write("orders", {"_id": "a", "total": 1})

It keeps what it is sent (documents with real revisions, conflicts, deletions, update sequences), and answers as the
recorded server did: statuses, headers, order of keys, texts, defects. A request that it does not know is answered 501
and kept in `unknown`; leaving the `async with` block then raises AssertionError, so no test passes by accident
(`strict=False` leaves that to the test).

Several nodes share one state: `CouchDBDouble(nodes=3)` has `urls[0..2]`. `await couch.stop(1)` and `await
couch.start(1)` take one down and bring it back at the same port; `await couch.restart(node=0, down=0.0)` cuts every
open answer without its last chunk, as the real one does. Data outlives restarts.

What came is in `couch.requests`: `Seen(node, method, path, query, headers, body)`, `path` as it stood on the wire
(percent escapes kept), `params` and `json` decoded. `couch.open_feeds` is how many feeds are being read now.

Time: a duration that a client names (heartbeat, timeout) is multiplied by `pace` (default 1.0; `pace=0.01` makes a
heartbeat of 10 s one of 0.1 s). What the server takes by itself is `delay` seconds for each step (default 0.02: until
an event shows in _db_updates, for which `await couch.settled()` waits; each state of a resharding or replication).
`couch.advance(seconds)` moves the server's clock: cookies and JWTs expire and lockouts end without waiting.
`couch.clock` is where it comes from.

Faults strike the next `times` requests whose method and path match, the latest added first; `after` counts bytes of
the answer's body:

    couch.inject(Status(503), path=r"/_all_dbs")            # an answer in place of the real one
    couch.inject(Cut(after=100), path=r"/_db_updates")      # the connection is reset in the middle of a row
    couch.inject(HalfChunk(after=100), path=...)            # a chunk is announced, half of it comes, then the end
    couch.inject(Silence(after=0), path=...)                # nothing more comes, the socket stays open
    couch.inject(Silence(after=None), path=...)             # not even headers
    couch.inject(ErrorInside(after=100), path=...)          # a literal `HTTP/1.1 500` within a 200, socket open
    couch.inject(Refuse(), path=...)                        # closed without an answer
    couch.inject(Slow(0.2), path=...)                       # answered later; the work is done after the pause
    couch.inject(Lost(), path=...)                          # the work is done, the answer never comes (closed)

Of the server itself:

    couch.config["chttpd_auth"]["timeout"] = "2"            # as _node/{node}/_config sees it (texts); lockout:
                                                            # config["chttpd_auth_lockout"]["threshold"]
    couch.status = "maintenance_mode" | "nolb" | "seeding"  # what _up answers ("ok" otherwise)
    couch.lacks.add("_reshard")                             # an older server: to it that is a missing database;
                                                            # "_versions", "_prometheus": of a node; "GET _dbs_info"
    couch.version = "2.3.1"
    couch.lost_nodes.add("n2@127.0.0.1")                    # of the Erlang cluster: 412 nodedown, 202 for writes
    couch.set_up = "cluster_disabled"                       # the state of _cluster_setup; `reachable_ports` are
                                                            # those at which add_node finds a server
    couch.search, couch.icon = True, b"..."                 # the search plugin is there; so is favicon.ico
    couch.replication_fails = "db_not_found"                # or "unauthorized" (403), or any reason; None heals
    couch.reshard_fails = "reason"                          # jobs end in state failed
    couch.hold.clear() / couch.hold.set()                   # while cleared, running replications and reshardings wait
    couch.tasks.append(compaction("orders"))                # in _active_tasks beside replications: couchdb_tasks

A test that needs authentication by proxy or JWT sets `config["chttpd"]["authentication_handlers"]` and restarts the
node, as handlers are read only then; `couchdb_auth.bearer` signs a token. Map, filter and validation functions may use
the JavaScript that `couchdb_script` reads.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from aiohttp import web
from attrs import define
from doubles.couchdb_auth import authenticate, authorize, unauthorized_headers
from doubles.couchdb_http import (
    PHRASES,
    SERVER,
    Answer,
    Call,
    Cut,
    ErrorInside,
    Fault,
    HalfChunk,
    Line,
    Lost,
    Problem,
    Refuse,
    Seen,
    Silence,
    Slow,
    Status,
    Unknown,
    forever,
    http_date,
)
from doubles.couchdb_replicator import Replicator
from doubles.couchdb_reshard import Resharder
from doubles.couchdb_routes import route
from doubles.couchdb_script import Unsupported
from doubles.couchdb_world import Node, World

__all__ = [
    "CouchDBDouble",
    "Cut",
    "ErrorInside",
    "HalfChunk",
    "Lost",
    "Refuse",
    "Seen",
    "Silence",
    "Slow",
    "Status",
]

RUNNING: dict[str, CouchDBDouble] = {}
"""Those that run in this process, by host and port: replication reaches from one to another."""


@define
class Armed:
    """A fault that waits for its request."""

    fault: Fault
    path: re.Pattern[str]
    method: str | None
    node: int | None
    times: int


class CouchDBDouble(World):
    """See the module. `users`: name to password and roles, beside the admin."""

    def __init__(
        self,
        *,
        nodes: int = 1,
        admin: tuple[str, str] = ("admin", "secret"),
        users: Mapping[str, tuple[str, Sequence[str]]] | None = None,
        system: bool = True,
        names: Sequence[str] | None = None,
        pace: float = 1.0,
        delay: float = 0.02,
        strict: bool = True,
    ) -> None:
        super().__init__(nodes=nodes, admin=admin, system=system, names=names, pace=pace, delay=delay)
        self.strict = strict
        self.requests: list[Seen] = []
        self.unknown: list[str] = []
        self.armed: list[Armed] = []
        self.replicator, self.resharder = Replicator(self), Resharder(self)
        for name, (password, roles) in (users or {}).items():
            self.add_user(name, password, roles)

    async def __aenter__(self) -> Self:
        for node in self.nodes:
            await self.start(node.index)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in self.jobs:
            job.cancel()
        await asyncio.gather(*self.jobs, return_exceptions=True)
        for node in self.nodes:
            await self.stop(node.index)
        if error is None and self.strict and self.unknown:
            raise AssertionError(f"requests that the CouchDB double does not know: {self.unknown}")

    # The servers

    async def start(self, node: int = 0) -> None:
        """Listens, at the port of before if there was one. Nothing, if it is up."""
        one = self.nodes[node]
        if one.is_up:
            return
        runner = web.ServerRunner(
            web.Server(lambda request: self.serve(one, request), access_log=None, handler_cancellation=True),
            shutdown_timeout=0.05,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", one.port, reuse_address=True)
        await site.start()
        one.port = runner.addresses[0][1]
        one.runner, one.started = runner, self.now()
        self.reachable_ports.add(one.port)
        RUNNING[f"127.0.0.1:{one.port}"] = self
        # Authentication handlers are read when the server starts, and only then.
        text = self.config.get("chttpd", {}).get("authentication_handlers", "")
        one.handlers = re.findall(r"(\w+)_authentication_handler", text) or ["cookie", "default"]

    async def stop(self, node: int = 0) -> None:
        """Cuts every connection where it is (no last chunk), and listens no more."""
        one = self.nodes[node]
        if one.runner is None:
            return
        runner, one.runner = one.runner, None
        RUNNING.pop(f"127.0.0.1:{one.port}", None)
        server = runner.server
        assert server is not None
        for connection in server.connections:
            if connection.transport is not None:
                connection.transport.close()
        await runner.cleanup()

    async def restart(self, node: int = 0, *, down: float = 0.0) -> None:
        """Stops, stays away for `down` seconds, and comes back at the same port with all its data."""
        await self.stop(node)
        await asyncio.sleep(down)
        await self.start(node)

    @property
    def url(self) -> str:
        return self.nodes[0].url

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def running_at(self, address: str) -> CouchDBDouble | None:
        """The double at `host:port`, this one or another of the process."""
        return RUNNING.get(address)

    def restarting(self, node: Node) -> None:
        """`POST _restart` answers first, and then the node goes down and comes back."""
        self.spawn(self.restart_soon(node), name=f"restart {node.name}")

    async def restart_soon(self, node: Node) -> None:
        await asyncio.sleep(max(self.delay, 0.01))
        await self.restart(node.index, down=10 * self.delay)

    # Requests

    def inject(
        self, fault: Fault, *, path: str = ".*", method: str | None = None, node: int | None = None, times: int = 1
    ) -> None:
        """Arms a fault for the next `times` requests whose path (escapes kept, no query) matches as a whole."""
        self.armed.append(Armed(fault, re.compile(path), method, node, times))

    def fault_for(self, node: Node, request: web.BaseRequest) -> Fault | None:
        path = urlsplit(request.raw_path).path
        for armed in reversed(self.armed):
            fits = armed.path.fullmatch(path) and armed.method in {None, request.method}
            if armed.times > 0 and fits and armed.node in {None, node.index}:
                armed.times -= 1
                return armed.fault
        return None

    async def serve(self, node: Node, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = await request.content.read()  # `request.read()` would stop at a size of aiohttp's
        path, _, query = request.raw_path.partition("?")
        seen = Seen(
            node=node.index,
            method=request.method,
            path=path,
            query=query,
            headers=request.headers.copy(),
            body=content,
        )
        self.requests.append(seen)
        call = Call(couch=self, node=node, request=request, content=content, fault=self.fault_for(node, request))
        return await self.answer(call)

    async def answer(self, call: Call) -> web.StreamResponse:
        transport = call.request.transport
        assert transport is not None
        match call.fault:
            case Refuse():
                transport.close()
                await forever()
            case Silence(after=None):
                await forever()
            case Slow(seconds=seconds):
                await asyncio.sleep(seconds)
            case Status() as status:
                problem = Problem(status.status, status.error, status.reason, headers=status.headers)
                return await self.send(call, problem.answer)
        answer = await self.handled(call)
        if answer is None:
            assert call.response is not None
            return call.response
        if isinstance(call.fault, Lost):
            transport.close()
            await forever()
        return await self.send(call, answer)

    async def handled(self, call: Call) -> Answer | None:
        try:
            call.user = authenticate(call)
            authorize(call)
            return await route(call)
        except Problem as problem:
            answer = problem.answer
            return unauthorized_headers(call, answer) if answer.status == 401 else answer
        except (Unknown, Unsupported) as e:
            self.unknown.append(f"{call.method} {call.request.raw_path} {e}".strip())
            return Problem(501, "unknown_to_the_double", self.unknown[-1]).answer

    def common_headers(self, call: Call) -> dict[str, str]:
        found = {
            "Date": http_date(self.now()),
            "Server": SERVER.replace("3.5.0", self.version),
            "X-Couch-Request-ID": call.id,
            "X-CouchDB-Body-Time": "0",
        }
        return found | ({"Set-Cookie": call.set_cookie} if call.set_cookie is not None else {})

    async def send(self, call: Call, answer: Answer) -> web.StreamResponse:
        headers = self.common_headers(call)
        if not answer.request_id:
            del headers["X-Couch-Request-ID"], headers["X-CouchDB-Body-Time"]
        if answer.cache is not None:
            headers["Cache-Control"] = answer.cache
        if answer.content_type is not None:
            headers["Content-Type"] = answer.content_type
        headers |= answer.headers
        if call.content and not call.consumed:
            headers["Connection"] = "close"
        return await self.written(call, answer, headers)

    async def written(self, call: Call, answer: Answer, headers: dict[str, str]) -> web.StreamResponse:
        if isinstance(call.fault, Cut | HalfChunk | Silence | ErrorInside) or (
            answer.chunked and call.method != "HEAD"
        ):
            line = Line(call=call, headers=headers, status=answer.status)
            for at in range(0, len(answer.body), 8192):
                await line.write(answer.body[at : at + 8192])
            await line.end()
            return await line.start()
        length = 0 if answer.chunked else len(answer.body)
        headers["Content-Length"] = str(length)
        response = web.Response(status=answer.status, reason=PHRASES.get(answer.status), headers=headers)
        if call.method != "HEAD":
            response.body = answer.body
        if headers.get("Connection") == "close":
            response.force_close()
        return response
