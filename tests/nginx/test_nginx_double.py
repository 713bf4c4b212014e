"""The double: its words are the reference's, and it is no friend of wrong requests."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest
from doubles.nginx import NginxDouble

# Each text of the reference's list of errors, in its order, and what brings it about: for POST and PATCH of servers,
# and for both sides where nothing else is said. What the reference puts in quotes is a name or a place to be filled.
POST = [
    ({"server": "10.0.0.6:80", "weight": "5"}, "UpstreamConfFormatError", 'invalid "weight" value'),
    ({"server": "10.0.0.6:80", "down": 1}, "UpstreamConfFormatError", 'invalid "down" value'),
    ({"server": "10.0.0.6:80", "fail_timeout": 10}, "UpstreamConfFormatError", 'invalid "fail_timeout" value'),
    ({"weight": 5}, "UpstreamConfFormatError", 'missing "server" argument'),
    ({"server": "10.0.0.6:80", "id": 5}, "UpstreamConfFormatError", 'unknown parameter "id"'),
    ({"server": "10.0.0.6:80", "weight": {}}, "UpstreamConfFormatError", "nested object or list"),
    ([], "UpstreamConfFormatError", "nested object or list"),
    ({"server": "10.0.0.6:x"}, "UpstreamBadAddress", 'invalid port in "10.0.0.6:x" while parsing'),
    ({"server": "a b:80"}, "UpstreamBadAddress", 'invalid host in "a b:80" while parsing'),
    (
        {"server": "app.example.com:80", "service": "web"},
        "UpstreamBadAddress",
        'service upstream "app.example.com:80" may not have port',
    ),
    (
        {"server": "10.0.0.6", "service": "web"},
        "UpstreamBadAddress",
        'service upstream "10.0.0.6" requires domain name',
    ),
    ({"server": "10.0.0.6:80", "weight": 0}, "UpstreamBadWeight", 'invalid "weight"'),
    ({"server": "10.0.0.6:80", "max_conns": -1}, "UpstreamBadMaxConns", 'invalid "max_conns"'),
    ({"server": "10.0.0.6:80", "max_fails": -1}, "UpstreamBadMaxFails", 'invalid "max_fails"'),
    ({"server": "10.0.0.6:80", "fail_timeout": "x"}, "UpstreamBadFailTimeout", 'invalid "fail_timeout"'),
    ({"server": "10.0.0.6:80", "slow_start": "10ms"}, "UpstreamBadSlowStart", 'invalid "slow_start"'),
    ({"server": "app.example.com", "service": ""}, "UpstreamBadService", '"service" is empty'),
]
PATCH = [
    ({"max_conns": "5"}, "UpstreamConfFormatError", 'invalid "max_conns" value'),
    ({"backup": True}, "UpstreamConfFormatError", 'unknown parameter "backup"'),
    ({"service": "web"}, "UpstreamConfFormatError", 'unknown parameter "service"'),
    ({"down": []}, "UpstreamConfFormatError", "nested object or list"),
    ({"server": "10.0.0.6:0"}, "UpstreamBadAddress", 'invalid port in "10.0.0.6:0" while parsing'),
    ({"server": "app.example.com:80"}, "UpstreamBadAddress", 'invalid "server" argument'),
    ({"weight": 0}, "UpstreamBadWeight", 'invalid "weight"'),
    ({"max_conns": -1}, "UpstreamBadMaxConns", 'invalid "max_conns"'),
    ({"max_fails": -1}, "UpstreamBadMaxFails", 'invalid "max_fails"'),
    ({"fail_timeout": "-1s"}, "UpstreamBadFailTimeout", 'invalid "fail_timeout"'),
    ({"slow_start": ""}, "UpstreamBadSlowStart", 'invalid "slow_start"'),
    ({"service": ""}, "UpstreamBadService", '"service" is empty'),
]
HTTP_ONLY = [
    ("POST", {"server": "10.0.0.6:80", "route": "r" * 33}, "UpstreamBadRoute", "route is too long"),
    ("PATCH", {"route": "r" * 33}, "UpstreamBadRoute", "route is too long"),
    ("POST", {"server": "10.0.0.6:80", "drain": 1}, "UpstreamConfFormatError", 'invalid "drain" value'),
]
STREAM_ONLY = [
    ("POST", {"server": "10.0.0.6"}, "UpstreamBadAddress", 'no port in server "10.0.0.6"'),
    ("PATCH", {"server": "10.0.0.6"}, "UpstreamBadAddress", 'no port in server "10.0.0.6"'),
    ("POST", {"server": "10.0.0.6:80", "drain": True}, "UpstreamConfFormatError", 'unknown parameter "drain"'),
    ("PATCH", {"route": "a"}, "UpstreamConfFormatError", 'unknown parameter "route"'),
]
CASES = [
    *[(side, "POST", *case) for side in ("http", "stream") for case in POST],
    *[(side, "PATCH", *case) for side in ("http", "stream") for case in PATCH],
    *[("http", *case) for case in HTTP_ONLY],
    *[("stream", *case) for case in STREAM_ONLY],
]


async def ask(double: NginxDouble, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Without the client under test."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    async with aiohttp.ClientSession() as session, session.request(method, double.origin + path, data=data) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text


@pytest.mark.parametrize(("side", "method", "body", "code", "text"), CASES, ids=str)
async def test_words_of_a_bad_server(
    double: NginxDouble, side: str, method: str, body: Any, code: str, text: str
) -> None:
    """They are 400, and nothing is changed."""
    path = f"/api/3/{side}/upstreams/backend/servers/" + ("0" if method == "PATCH" else "")
    before = [server.configuration(3) for server in double.upstream(side=side).servers.values()]
    status, answer = await ask(double, method, path, body)
    assert (status, answer["error"]["code"], answer["error"]["text"]) == (400, code, text)
    assert [server.configuration(3) for server in double.upstream(side=side).servers.values()] == before


@pytest.mark.parametrize(
    ("version", "method", "body", "status", "code", "text"),
    [
        (3, "POST", {}, 400, "KeyvalFormatError", "key required"),
        (3, "POST", {"a": "1", "b": "2"}, 400, "KeyvalFormatError", "only one key can be added"),
        (3, "POST", {"a": {"value": "1"}}, 400, "KeyvalFormatError", "nested object or list"),
        (3, "POST", {"here": "1"}, 409, "KeyvalKeyExists", "key already exists"),
        (3, "PATCH", {}, 400, "KeyvalFormatError", "key required"),
        (3, "PATCH", {"a": "1", "b": "2"}, 400, "KeyvalFormatError", "only one key can be updated"),
        (3, "PATCH", {"here": ["1"]}, 400, "KeyvalFormatError", "nested object or list"),
        (3, "PATCH", {"a": "1"}, 404, "KeyvalKeyNotFound", "keyval key not found"),
        (3, "POST", b"{", 415, "JsonError", "invalid JSON"),
        (3, "PATCH", b"", 415, "JsonError", "invalid JSON"),
        (5, "POST", {"a": {"value": "1"}}, 400, "KeyvalFormatError", "invalid key format"),
        (5, "POST", {"a": {"value": "1", "expire": 5}}, 400, "KeyvalFormatError", "keyval timeout is not enabled"),
    ],
    ids=str,
)
async def test_words_of_a_bad_pair(
    double: NginxDouble, version: int, method: str, body: Any, status: int, code: str, text: str
) -> None:
    """And nothing is changed."""
    double.instance.keyvals["http"]["one"].pairs["here"] = ("v", None)
    found, answer = await ask(double, method, f"/api/{version}/http/keyvals/one", body)
    assert (found, answer["error"]["code"], answer["error"]["text"]) == (status, code, text)
    assert double.pairs() == {"here": "v"}


@pytest.mark.parametrize("path", ["/api/9/nginx", "/api/9/nginx/", "/api/9/http/caches", "/api/9/http/caches/"])
async def test_slash_at_the_end_makes_no_difference(double: NginxDouble, path: str) -> None:
    """As with nginx, whose Go client writes it now and then."""
    assert (await ask(double, "GET", path))[0] == 200


@pytest.mark.parametrize(
    ("versions", "asked", "status", "members"),
    [
        ((1, 2, 3), 1, "404", {"path": "/api/1/http/upstreams/x", "method": "GET"}),
        ((1, 2, 3), 3, 404, {"path": "/api/3/http/upstreams/x", "method": "GET"}),
        (range(1, 10), 3, 404, {"path": "", "method": ""}),
        (range(1, 10), 4, 404, {}),
    ],
    ids=str,
)
async def test_error_object_of_each_version(versions: Any, asked: int, status: Any, members: dict[str, str]) -> None:
    """The status was text, and path and method were told, and then were left empty, and then out."""
    async with NginxDouble(versions) as double:
        found, answer = await ask(double, "GET", f"/api/{asked}/http/upstreams/x")
    assert found == 404
    assert answer.pop("error") == {"status": status, "text": "upstream not found", "code": "UpstreamNotFound"}
    assert re.fullmatch("[0-9a-f]{32}", answer.pop("request_id"))
    assert answer.pop("href").startswith("https://nginx.org/")
    assert answer == members


async def test_answers_of_writes(double: NginxDouble) -> None:
    """201 with the server, 200 with it, 200 with those that remain; 201 and 204 without a body for pairs."""
    servers = "/api/9/http/upstreams/hashed/servers/"
    status, added = await ask(double, "POST", servers, {"server": "10.0.0.6"})
    assert status == 201
    assert added == {
        "id": 1,
        "server": "10.0.0.6:80",
        "weight": 1,
        "max_conns": 0,
        "max_fails": 1,
        "fail_timeout": "10s",
        "slow_start": "0s",
        "route": "",
        "backup": False,
        "down": False,
    }
    assert await ask(double, "PATCH", servers + "1", {"drain": True}) == (200, {**added, "drain": True})
    status, left = await ask(double, "DELETE", servers + "1/")
    assert (status, [server["id"] for server in left]) == (200, [0])
    assert await ask(double, "POST", "/api/9/http/keyvals/one", {"a": "1"}) == (201, "")
    assert await ask(double, "PATCH", "/api/9/http/keyvals/one", {"a": None}) == (204, "")
    assert await ask(double, "DELETE", "/api/9/http/keyvals/one") == (204, "")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/9/nonsense"),
        ("POST", "/api/9/nginx"),
        ("PUT", "/api/9/http/upstreams/backend/servers/0"),
        ("GET", "/api/4/workers/"),
        ("GET", "/api/9/nginx?fields="),
        ("GET", "/api/9/nginx?field=version"),
        ("GET", "/api/9/processes?fields=respawned"),
        ("DELETE", "/api/9/slabs/"),
        ("GET", "/api/9/http/keyvals/one/a"),
    ],
)
async def test_unforeseen_request_fails_the_test(method: str, path: str) -> None:
    """Loudly: 500 at once, and an assertion at the end."""
    with pytest.raises(AssertionError, match="no client should have asked"):
        async with NginxDouble() as double:
            assert (await ask(double, method, path, b"{}" if method in {"POST", "PUT"} else None))[0] == 500


async def test_outside_of_its_location(double: NginxDouble) -> None:
    """nginx's own page."""
    status, page = await ask(double, "GET", "/elsewhere")
    assert status == 404
    assert "<h1>404 Not Found</h1>" in page
