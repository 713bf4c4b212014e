"""Every row of the endpoint tables of versions 3 and 9: its success, and each of its errors."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from doubles.nginx import NginxDouble

from aetcd import errors
from aetcd import nginx as room
from aetcd._wire.message import Effect, Request
from aetcd.nginx import (
    SSL,
    Cache,
    Connections,
    HTTPRequests,
    HTTPServer,
    HTTPServerZone,
    HTTPUpstream,
    HTTPUpstreamHandle,
    Info,
    License,
    LimitConn,
    LimitReq,
    LocationZone,
    Nginx,
    Processes,
    Resolver,
    Slab,
    StreamServer,
    StreamServerZone,
    StreamUpstream,
    Worker,
    ZoneSync,
)
from aetcd.nginx import _errors as nginx_errors
from aetcd.nginx._codec import JSON, result

DATA = Path(__file__).parent / "data"


@frozen
class Row:
    """An endpoint: method and path, what its query may hold, and its answers: a status with a code or a type."""

    version: int
    name: str
    query: str
    answers: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        return f"v{self.version} {self.name}"


def read(version: int) -> list[Row]:
    rows = []
    for line in (DATA / f"endpoints_v{version}.md").read_text().splitlines():
        if not re.match(r"\| (GET|POST|PATCH|DELETE) ", line):
            continue
        name, query, _, statuses = (cell.strip() for cell in line.strip("|\n").split("|"))
        answers: list[tuple[int, str]] = []
        for status in statuses.split("; "):
            number, _, rest = status.partition(" ")
            for told in rest.strip("()").split(", "):
                # "ID" is a slip of the table: the text says: server "ID" address is immutable.
                if told != "ID":
                    answers.append((int(number), told))
        rows.append(Row(version, name, query, tuple(answers)))
    return rows


ROWS = [*read(3), *read(9)]
GOOD = [(row, status, told) for row in ROWS for status, told in row.answers if status < 300]
BAD = [(row, status, told) for row in ROWS for status, told in row.answers if status >= 400]

# What the tables name and no request can bring about: a body that breaks off is not answered at all; that a key is
# there is told by KeyvalKeyExists; and there is always a worker.
UNREACHABLE = re.compile(r".* BodyReadError|POST /\w+/keyvals/.* EntryExists|\w+ /workers/ WorkerNotFound")
REACHABLE = [case for case in BAD if not UNREACHABLE.fullmatch(f"{case[0].name} {case[2]}")]


def test_tables_are_whole() -> None:
    """No row is left out for its form's sake, and hardly an error for being out of reach."""
    for version, rows in ((3, 51), (9, 71)):
        lines = (DATA / f"endpoints_v{version}.md").read_text().splitlines()
        assert len(read(version)) == sum(line.startswith("| ") for line in lines) - 1 == rows
    assert len({row.name.split(" ")[1] for row in read(3)}) == 29
    assert len(BAD) - len(REACHABLE) == 12


@pytest.mark.parametrize("path", sorted({row.name.split(" ")[1] for row in ROWS}))
def test_each_path_is_named_where_it_is_spoken(path: str) -> None:
    """In the docstring of a public class, or of one of its methods."""
    classes = [kind for name in room.__all__ if inspect.isclass(kind := getattr(room, name))]
    documented = [*classes, *(member for kind in classes for member in vars(kind).values())]
    assert any(
        re.search(rf"(^|[ (]){re.escape(path)}($|[ ,.)])", inspect.getdoc(one) or "", re.MULTILINE)
        for one in documented
    )


Call = Callable[[Nginx, str], Awaitable[Any]]

ZONES = {
    "/slabs/": ("slabs", "one", Slab),
    "/resolvers/": ("resolvers", "resolver_zone1", Resolver),
    "/http/server_zones/": ("http.server_zones", "server_backend", HTTPServerZone),
    "/http/location_zones/": ("http.location_zones", "location_backend", LocationZone),
    "/http/caches/": ("http.caches", "cache_backend", Cache),
    "/http/limit_conns/": ("http.limit_conns", "addr", LimitConn),
    "/http/limit_reqs/": ("http.limit_reqs", "one", LimitReq),
    "/http/upstreams/": ("http.upstreams", "backend", HTTPUpstream),
    "/stream/server_zones/": ("stream.server_zones", "server_backend", StreamServerZone),
    "/stream/limit_conns/": ("stream.limit_conns", "addr", LimitConn),
    "/stream/upstreams/": ("stream.upstreams", "backend", StreamUpstream),
}

SINGLE = {
    "/nginx": ("info", Info),
    "/processes": ("processes.get", Processes),
    "/connections": ("connections.get", Connections),
    "/ssl": ("ssl.get", SSL),
    "/http/requests": ("http.requests.get", HTTPRequests),
    "/license": ("license", License),
    "/stream/zone_sync/": ("stream.zone_sync", ZoneSync),
}

LISTS = {"/": "endpoints", "/http/": "http.endpoints", "/stream/": "stream.endpoints"}


def at(nginx: Nginx, dotted: str) -> Any:
    found: Any = nginx
    for name in dotted.split("."):
        found = getattr(found, name)
    return found


def one_of(kind: Any) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def typed(row: Row) -> tuple[Callable[..., Awaitable[Any]], Callable[[Any], bool]]:
    """The call of the client for a row, given a client and a name, and what its answer must be."""
    method, path = row.name.split(" ")
    if path in LISTS:
        return lambda nginx, name: at(nginx, LISTS[path])(), lambda value: "upstreams" in value or "nginx" in value
    if path in SINGLE:
        dotted, kind = SINGLE[path]
        if method == "GET":
            return lambda nginx, name: at(nginx, dotted)(), one_of(kind)
        return lambda nginx, name: at(nginx, dotted.replace("get", "reset"))(), one_of(type(None))
    side = path.split("/")[1]
    server = HTTPServer if side == "http" else StreamServer
    address = "10.7.0.1:80"
    if "/servers/" in path:
        servers: Any = lambda nginx, name: at(nginx, f"{side}.upstream")(name).servers  # noqa: E731
        many = lambda value: all(type(one) is server for one in value)  # noqa: E731
        match method, path.endswith("}"):
            case "GET", False:
                return lambda nginx, name: servers(nginx, name).list(), many
            case "POST", False:
                return lambda nginx, name: servers(nginx, name).add(address, weight=2), one_of(server)
            case "GET", True:
                return lambda nginx, name, number=0: servers(nginx, name).get(number), one_of(server)
            case "PATCH", True:
                return lambda nginx, name, number=0: servers(nginx, name).modify(number, weight=7), one_of(server)
            case "DELETE", True:
                return lambda nginx, name, number=0: servers(nginx, name).remove(number), many
    if "/keyvals/" in path:
        zone: Any = lambda nginx, name: at(nginx, f"{side}.keyval")(name)  # noqa: E731
        nothing = one_of(type(None))
        match method, path.endswith("}"):
            case "GET", False:
                return lambda nginx, name: at(nginx, f"{side}.keyvals").list(), lambda value: "one" in value
            case "GET", True:
                return lambda nginx, name: zone(nginx, name).all(), lambda value: value == {"here": "v"}
            case "POST", True:
                return lambda nginx, name: zone(nginx, name).create("new", "v"), nothing
            case "PATCH", True:
                return lambda nginx, name, key="here": zone(nginx, name).modify(key, "w"), nothing
            case "DELETE", True:
                return lambda nginx, name: zone(nginx, name).clear(), nothing
    if path.startswith("/workers/"):
        if path.endswith("}"):
            call = "workers.get" if method == "GET" else "workers.reset"
            kind = Worker if method == "GET" else type(None)
            return lambda nginx, name: at(nginx, call)(int(name)), one_of(kind)
        if method == "GET":
            return lambda nginx, name: nginx.workers.list(), lambda value: type(value[1]) is Worker
        return lambda nginx, name: nginx.workers.reset(), one_of(type(None))
    group = re.sub(r"\{\w+\}/?$", "", path)
    dotted, _, kind = ZONES[group]
    if path == group:
        return lambda nginx, name: at(nginx, dotted).list(), lambda value: all(type(v) is kind for v in value.values())
    if method == "GET":
        return lambda nginx, name: at(nginx, dotted).get(name), one_of(kind)
    return lambda nginx, name: at(nginx, dotted).reset(name), one_of(type(None))


def name_in(row: Row) -> str:
    """The zone, upstream or worker of the double that the row's path is about."""
    path = row.name.split(" ")[1]
    for group, (_, name, _) in ZONES.items():
        if path.startswith(group) and path != group:
            return name
    return "1" if "/workers/" in path else "one"


def filled(row: Row) -> str:
    """The path with names in place of its parameters."""
    path = re.sub(r"\{\w+ServerId\}", "0", row.name.split(" ")[1])
    return f"/api/{row.version}{re.sub(r'{[^}]*}', name_in(row), path)}"


async def prepared(double: NginxDouble, nginx: Nginx) -> None:
    """A key in each zone `one`."""
    for zones in double.instance.keyvals.values():
        zones["one"].pairs["here"] = ("v", None)


@pytest.mark.parametrize(("row", "status", "told"), GOOD, ids=str)
async def test_success(row: Row, status: int, told: str) -> None:
    """The client's call asks for what the row says, as the row writes it, and gives what it should."""
    async with NginxDouble() as double, Nginx(double.url, version=row.version) as nginx:
        await prepared(double, nginx)
        call, is_right = typed(row)
        assert is_right(await call(nginx, name_in(row)))
        (seen,) = double.seen
        assert (seen.method, seen.target) == (row.name.split(" ")[0], filled(row))


@pytest.mark.parametrize("row", [row for row in ROWS if row.query == "fields" and "keyvals" not in row.name], ids=str)
async def test_fields(row: Row) -> None:
    """`fields=` goes out, and what it leaves out says so; a collection's `names()` sends it empty."""
    async with NginxDouble() as double, Nginx(double.url, version=row.version) as nginx:
        path = row.name.split(" ")[1]
        if path in SINGLE:
            answer = await at(nginx, SINGLE[path][0])(fields=["unknown_to_all"])
        elif "/workers/" in path:
            answer = await (
                nginx.workers.get(1, fields=["unknown_to_all"]) if "{" in path else nginx.workers.list(fields=["id"])
            )
        else:
            group = at(nginx, ZONES[re.sub(r"\{\w+\}/?$", "", path)][0])
            if "{" in path:
                answer = await group.get(name_in(row), fields=["unknown_to_all"])
            else:
                answer = await group.list(fields=["unknown_to_all"])
                assert await group.names() == list(answer)
                assert double.seen[-1].target == f"{filled(row)}?fields="
        assert "?fields=" in double.seen[0].target
        for found in answer.values() if isinstance(answer, dict) else [answer]:
            assert "<not asked for>" in repr(found)


SERVER_ID = 0
LONG = "r" * 33

# Bodies of POST and PATCH that nginx refuses; None where the other parts of the request do.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "UpstreamConfFormatError"): {"weight": 2},
    ("PATCH", "UpstreamConfFormatError"): {"id": 5},
    ("POST", "UpstreamBadAddress"): {"server": "10.0.0.1:99999"},
    ("PATCH", "UpstreamBadAddress"): {"server": "10.0.0.1:99999"},
    ("POST", "UpstreamConfNoResolver"): {"server": "app.example.com:80"},
    ("POST", "UpstreamNoBackup"): {"server": "10.0.0.6:80", "backup": True},
    ("PATCH", "UpstreamBadService"): {"service": ""},
    ("POST", "UpstreamBadService"): {"server": "app.example.com", "service": ""},
}
BAD_PARAMETERS: dict[str, dict[str, Any]] = {
    "UpstreamBadWeight": {"weight": 0},
    "UpstreamBadMaxConns": {"max_conns": -1},
    "UpstreamBadMaxFails": {"max_fails": -1},
    "UpstreamBadFailTimeout": {"fail_timeout": "soon"},
    "UpstreamBadSlowStart": {"slow_start": "-5s"},
    "UpstreamBadRoute": {"route": LONG},
}
for code, body in BAD_PARAMETERS.items():
    BODIES["POST", code] = {"server": "10.0.0.6:80", **body}
    BODIES["PATCH", code] = body

ON_HASHED = {"UpstreamConfNoResolver", "UpstreamNoBackup", "UpstreamOutOfMemory"}


async def provoke(row: Row, status: int, code: str, double: NginxDouble, nginx: Nginx) -> Any:
    """Do what makes the API answer so."""
    method, path = row.name.split(" ")
    call, _ = typed(row)
    name = name_in(row)
    target = filled(row)
    match code:
        case "UpstreamStatic":
            return await call(nginx, "fixed")
        case "WorkerNotFound" if "{" in path:
            return await call(nginx, "99")
        case "KeyvalKeyNotFound" if method == "GET":
            return await raw(nginx, "GET", f"{target}?key=nothing")
        case "KeyvalKeyNotFound":
            return await call(nginx, name, key="nothing")
        case "UpstreamServerNotFound":
            return await call(nginx, name, number=99)
        case "UpstreamBadServerId":
            return await raw(nginx, method, target.removesuffix("0") + "x", {} if method == "PATCH" else None)
        case "KeyvalKeyExists":
            await call(nginx, name)
            return await call(nginx, name)
        case "KeyvalFormatError":
            return await raw(nginx, method, target, {})
        case "JsonError":
            return await raw(nginx, method, target, b"{no json")
        case "UpstreamServerImmutable":
            child = await resolved(row, nginx, None)
            body = {"server": "10.0.0.1:1"} if method == "PATCH" else None
            return await raw(nginx, method, f"{target.removesuffix('0')}{child}", body)
        case "UpstreamServerWeightImmutable":
            child = await resolved(row, nginx, "web")
            return await raw(nginx, method, f"{target.removesuffix('0')}{child}", {"weight": 3})
        case "UpstreamOutOfMemory":
            double.upstream("hashed", path.split("/")[1]).room = 1
            return await raw(nginx, method, target.replace("backend", "hashed"), {"server": "10.20.30.40:12345"})
        case "EntryExists":
            double.upstream("backend", path.split("/")[1]).unique = True
            await call(nginx, name)
            return await call(nginx, name)
        case "" if status == 413:
            return await raw(nginx, method, target, {"here": "x" * 2**20})
        case _ if (method, code) in BODIES:
            where = target.replace("backend", "hashed") if code in ON_HASHED else target
            return await raw(nginx, method, where, BODIES[method, code])
        case _ if code.endswith("NotFound"):
            return await call(nginx, "nothing")
        case _:
            return await call(nginx, name)


async def resolved(row: Row, nginx: Nginx, service: str | None) -> int:
    """The ID of a server that a name was resolved to."""
    upstream: HTTPUpstreamHandle = at(nginx, row.name.split("/")[1]).upstream("backend")
    address = "app.example.com" if service else "app.example.com:8000"
    parent = await upstream.servers.add(address, service=service)
    return next(server.id for server in await upstream.servers.list() if server.parent == str(parent.id))


async def raw(nginx: Nginx, method: str, target: str, body: Any = None) -> Any:
    """What the client's own methods would refuse to send is sent as it stands."""
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    path = target.removeprefix("/api")
    request = Request(operation="raw", method=method, path=path, effect=Effect.ONCE, body=content, headers=JSON)
    return result(request, await nginx._caller.channel.send(request))


def settings(code: str, version: int) -> dict[str, Any]:
    """The instance that answers so."""
    match code:
        case "MethodDisabled":
            return {"write": False}
        case "UnknownVersion":
            return {"versions": (1,)}
        case "StreamNotConfigured":
            return {"versions": (1, 2, 3), "stream": False}
        case "ZoneSyncNotConfigured":
            return {"versions": (1, 2, 3), "sync": False}
        case _:
            return {"versions": (1, 2, 3)} if version == 3 else {}


@pytest.mark.parametrize(("row", "status", "code"), REACHABLE, ids=str)
async def test_error(row: Row, status: int, code: str) -> None:
    """Each documented refusal raises the class of its name, with all that the server told."""
    async with NginxDouble(**settings(code, row.version)) as double, Nginx(double.url, version=row.version) as nginx:
        await prepared(double, nginx)
        with pytest.raises(errors.NginxError) as caught:
            await provoke(row, status, code, double, nginx)
    error = caught.value
    assert error.status == status
    if not code:
        assert type(error) is nginx_errors.BodyTooLarge
        return
    assert type(error) is nginx_errors.CODES[code]
    assert isinstance(error, nginx_errors.APIError)
    assert error.code == code
    assert error.text
    assert re.fullmatch("[0-9a-f]{32}", error.request_id or "")
    assert error.href == "https://nginx.org/en/docs/http/ngx_http_api_module.html"
