"""Servers of an upstream: each parameter there and back, and what is refused before it is sent."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from doubles.nginx import NginxDouble

import aetcd
from aetcd.nginx import HTTPServers, Nginx, StreamServers, UpstreamServerImmutable, UpstreamServerWeightImmutable
from aetcd.nginx._server_models import read_seconds

EVERY: dict[str, Any] = {
    "weight": 5,
    "max_conns": 100,
    "max_fails": 0,
    "fail_timeout": 30,
    "slow_start": 60,
    "down": True,
}


@pytest.mark.parametrize("side", ["http", "stream"])
async def test_every_parameter_there_and_back(double: NginxDouble, nginx: Nginx, side: str) -> None:
    """`add` and `modify` give what the server then has; `get` and `list` tell the same."""
    servers = getattr(nginx, side).upstream("backend").servers
    more = {"route": "r1", "drain": False} if side == "http" else {}
    added = await servers.add("10.0.0.7:80", backup=True, **EVERY, **more)
    assert {name: getattr(added, name) for name in EVERY} == EVERY
    assert (added.server, added.backup, added.service, added.parent) == ("10.0.0.7:80", True, None, None)
    changes = {name: value + 1 for name, value in EVERY.items() if name != "down"} | {"down": False}
    changed = await servers.modify(added.id, server="10.0.0.8:81", **changes)
    assert {name: getattr(changed, name) for name in changes} == changes
    assert (changed.id, changed.server, changed.backup) == (added.id, "10.0.0.8:81", True)
    assert await servers.get(added.id) == changed
    assert (await servers.list())[-1] == changed
    remaining = await servers.remove(added.id)
    assert [server.id for server in remaining] == [server.id for server in await servers.list()]
    assert added.id not in {server.id for server in remaining}


async def test_only_what_is_given_is_sent(double: NginxDouble, nginx: Nginx) -> None:
    """The rest has nginx's defaults, or stays; `id` is never in a body."""
    servers = nginx.http.upstream("backend").servers
    added = await servers.add("10.0.0.7")
    assert (added.server, added.weight, added.max_fails, added.fail_timeout) == ("10.0.0.7:80", 1, 1, 10)
    await servers.modify(added.id, weight=3)
    bodies = [json.loads(seen.body) for seen in double.seen if seen.body]
    assert bodies == [{"server": "10.0.0.7"}, {"weight": 3}]
    assert all(seen.headers["Content-Type"] == "application/json" for seen in double.seen if seen.body)


def test_modify_has_no_backup_and_no_service() -> None:
    """They cannot be changed; `add` has both."""
    for kind in (HTTPServers, StreamServers):
        assert {"backup", "service"} <= inspect.signature(kind.add).parameters.keys()
        assert not {"backup", "service"} & inspect.signature(kind.modify).parameters.keys()


async def test_ids_are_never_given_again(nginx: Nginx) -> None:
    """Who holds an old one cannot hit another server by it."""
    servers = nginx.http.upstream("backend").servers
    first = await servers.add("10.0.0.7:80")
    await servers.remove(first.id)
    assert (await servers.add("10.0.0.7:80")).id > first.id
    with pytest.raises(aetcd.nginx.UpstreamServerNotFound):
        await servers.remove(first.id)


async def test_drain(double: NginxDouble, nginx: Nginx) -> None:
    """It shows in the state of the peer, and can be taken back."""
    upstream = nginx.http.upstream("backend")
    assert (await upstream.servers.drain(0)).drain is True
    assert (await upstream.get()).peers[0].state == "draining"
    await upstream.servers.modify(0, drain=False)
    assert (await upstream.get()).peers[0].state == "up"


async def test_stream_servers_cannot_be_drained(double: NginxDouble, nginx: Nginx) -> None:
    """The API has no such parameter there: nothing is sent."""
    upstream = nginx.stream.upstream("backend")
    with pytest.raises(aetcd.Unsupported, match="drain"):
        await upstream.servers.drain(0)
    with pytest.raises(aetcd.Unsupported, match="drain"):
        await upstream.servers.modify(0, drain=True)
    with pytest.raises(aetcd.Unsupported, match="drain"):
        await upstream.servers.add("10.0.0.1:80", drain=False)
    with pytest.raises(aetcd.Unsupported, match="drain"):
        await upstream.reconcile(["10.0.0.1:80"], drain=5)
    assert not double.seen


async def test_removed_server_ends_what_it_serves(double: NginxDouble, nginx: Nginx) -> None:
    """It counts as a zombie until then."""
    double.server("10.0.0.1:8088").active = 2
    upstream = nginx.http.upstream("backend")
    await upstream.servers.remove(0)
    assert (await upstream.get(fields=["zombies"])).zombies == 1


async def test_resolved_servers(nginx: Nginx) -> None:
    """A name brings servers of its own, which belong to it."""
    servers = nginx.http.upstream("backend").servers
    parent = await servers.add("app.example.com:8000")
    children = [server for server in await servers.list() if server.parent == str(parent.id)]
    assert [(server.server, server.host) for server in children] == [
        ("10.9.0.1:8000", "app.example.com"),
        ("10.9.0.2:8000", "app.example.com"),
    ]
    with pytest.raises(UpstreamServerImmutable, match="address is immutable"):
        await servers.modify(children[0].id, server="10.0.0.1:80")
    with pytest.raises(UpstreamServerImmutable, match="not removable"):
        await servers.remove(children[0].id)
    await servers.remove(parent.id)
    assert len(await servers.list()) == 2


async def test_servers_of_a_service(nginx: Nginx) -> None:
    """The weight is the SRV record's."""
    servers = nginx.stream.upstream("backend").servers
    parent = await servers.add("app.example.com", service="web")
    assert parent.service == "web"
    child = next(server for server in await servers.list() if server.parent == str(parent.id))
    with pytest.raises(UpstreamServerWeightImmutable):
        await servers.modify(child.id, weight=3)


@pytest.mark.parametrize("side", ["http", "stream"])
@pytest.mark.parametrize(
    ("parameter", "value", "error"),
    [
        ("server", "", ValueError),
        ("server", "10.0.0.1:80 weight=5", ValueError),
        ("server", 5, TypeError),
        ("weight", 0, ValueError),
        ("weight", True, TypeError),
        ("weight", "5", TypeError),
        ("max_conns", -1, ValueError),
        ("max_fails", 1.5, TypeError),
        ("fail_timeout", "soon", ValueError),
        ("fail_timeout", "500ms", ValueError),
        ("fail_timeout", 1.5, TypeError),
        ("slow_start", -1, ValueError),
        ("down", "yes", TypeError),
        ("backup", 1, TypeError),
        ("service", "", ValueError),
        ("route", "r" * 33, ValueError),
    ],
)
async def test_bad_parameter_is_named(
    double: NginxDouble, nginx: Nginx, side: str, parameter: str, value: Any, error: type[Exception]
) -> None:
    """Before anything is sent, the question for versions included."""
    if side == "stream" and parameter == "route":
        return
    servers = getattr(nginx, side).upstream("backend").servers
    with pytest.raises(error, match=parameter):
        await servers.add(**{"server": "10.0.0.1:80", parameter: value})
    if parameter not in {"backup", "service"}:
        with pytest.raises(error, match=parameter):
            await servers.modify(0, **{parameter: value})
    assert not double.seen


@pytest.mark.parametrize(("id", "error"), [(-1, ValueError), (True, TypeError), ("1", TypeError), (None, TypeError)])
async def test_bad_id(double: NginxDouble, nginx: Nginx, id: Any, error: type[Exception]) -> None:
    """It is named."""
    servers = nginx.http.upstream("backend").servers
    for call in (servers.get(id), servers.remove(id), servers.modify(id, weight=1), servers.drain(id)):
        with pytest.raises(error, match="id"):
            await call
    assert not double.seen


async def test_empty_change(double: NginxDouble, nginx: Nginx) -> None:
    """It would be a request for nothing."""
    with pytest.raises(ValueError, match="at least one parameter"):
        await nginx.http.upstream("backend").servers.modify(0)
    assert not double.seen


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("90", 90), ("1m30s", 90), ("1m 30s", 90), ("2h", 7200), ("1d", 86400), (15, 15), ("0s", 0)],
)
def test_times_of_nginx(text: Any, seconds: int) -> None:
    """As its configuration writes them."""
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "10ms", "1x", "-5s", "5 s s", None, True, 1.5])
def test_no_times_of_nginx(text: Any) -> None:
    """Milliseconds are none here: nginx refuses them for these parameters."""
    with pytest.raises(ValueError, match="no time of nginx's"):
        read_seconds(text)
