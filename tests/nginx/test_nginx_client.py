"""The client: its arguments, the version that is spoken, and its life."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import pytest
from doubles.nginx import NginxDouble, Seen

import aetcd
from aetcd.nginx import AccessDenied, Missed, Nginx, NotTheAPI, PathNotFound, StreamNotConfigured, UnknownVersion


def test_signature() -> None:
    """The arguments that its documentation names."""
    names = list(inspect.signature(Nginx).parameters)
    assert names == ["url", "version", "username", "password", "token", "tls", "timeout", "retry", "debug", "trace"]


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"url": 8080}, TypeError, "url"),
        ({"url": ""}, aetcd.ConfigError, "url"),
        ({"url": "http://a b/api"}, aetcd.ConfigError, "url"),
        ({"url": "ftp://a/api"}, aetcd.ConfigError, "url"),
        ({"url": "http://user:secret@a/api"}, aetcd.ConfigError, "url"),
        ({"url": "http://a,b/api"}, aetcd.ConfigError, "url"),
        ({"version": 0}, aetcd.ConfigError, "version"),
        ({"version": 10}, aetcd.ConfigError, "version"),
        ({"version": "9"}, TypeError, "version"),
        ({"version": True}, TypeError, "version"),
        ({"username": "ann"}, aetcd.ConfigError, "password"),
        ({"password": "x"}, aetcd.ConfigError, "username"),
        ({"username": "a:b", "password": "x"}, aetcd.ConfigError, "username"),
        ({"username": 1, "password": "x"}, TypeError, "username"),
        ({"token": "t", "username": "ann", "password": "x"}, aetcd.ConfigError, "token"),
        ({"token": "a\nb"}, aetcd.ConfigError, "token"),
        ({"timeout": 0}, aetcd.ConfigError, "timeout"),
        ({"retry": 0}, aetcd.ConfigError, "retry"),
        ({"tls": "yes"}, TypeError, "tls"),
        ({"debug": 1}, TypeError, "debug"),
    ],
    ids=str,
)
def test_bad_argument_is_named(arguments: dict[str, Any], error: type[Exception], named: str) -> None:
    """When the client is made, and without showing credentials."""
    with pytest.raises(error, match=named) as caught:
        Nginx(**{"url": "http://a/api", **arguments})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "settings", "expected"),
    [
        ("http://a/api", {}, "http://a:80/api"),
        ("https://a/api/", {}, "https://a:443/api"),
        ("http://a:8080", {}, "http://a:8080"),
        ("a:8080/api", {}, "http://a:8080/api"),
        ("a/api", {"tls": True}, "https://a:443/api"),
        ("http://[::1]:81/x/api", {}, "http://[::1]:81/x/api"),
    ],
)
def test_url(url: str, settings: dict[str, Any], expected: str) -> None:
    """nginx's own ports are the default ones, not etcd's."""
    assert Nginx(url, **settings).url == expected


@pytest.mark.parametrize(
    ("served", "spoken"), [(range(1, 10), 9), ((1,), 1), ((1, 2, 3), 3), ((3, 4, 12, 15), 4), ((9, 8, 2), 9)], ids=str
)
async def test_newest_common_version_is_spoken(served: Any, spoken: int) -> None:
    """Of those that both know, whatever else the server serves and in whatever order."""
    async with NginxDouble(served) as double, Nginx(double.url) as nginx:
        assert nginx.status().version is None
        assert await nginx.versions() == list(served)
        assert await nginx.version() == spoken
        await nginx.connections.get()
        assert double.seen[-1].target == f"/api/{spoken}/connections"
        assert nginx.status().version == spoken
        assert f"version={spoken}" in repr(nginx)


async def test_no_common_version_is_unsupported() -> None:
    """Nothing but the question is sent."""
    async with NginxDouble((10, 11)) as double, Nginx(double.url) as nginx:
        with pytest.raises(aetcd.Unsupported, match=r"\[10, 11\]"):
            await nginx.info()
        assert len(double.seen) == 1


async def test_pinned_version_asks_nothing(double: NginxDouble) -> None:
    """The first call is the first request."""
    async with Nginx(double.url, version=3) as nginx:
        await nginx.info()
    assert [seen.target for seen in double.seen] == ["/api/3/nginx"]


async def test_first_calls_share_one_question(double: NginxDouble, nginx: Nginx) -> None:
    """However many come at the same time."""
    await asyncio.gather(*(nginx.connections.get() for _ in range(10)))
    assert sum(seen.target == "/api" for seen in double.seen) == 1


async def test_failed_question_is_asked_again(double: NginxDouble) -> None:
    """Who waited gets the error of the one who asked, or asks himself; the client is not spoilt."""
    await double.stop()
    async with Nginx(double.url, timeout=0.3) as nginx:
        with pytest.raises(aetcd.TransportError) as caught:
            await nginx.info()
        assert caught.value.outcome is aetcd.Outcome.NOT_SENT
        await double.start()
        assert (await nginx.info()).version == "1.15.3"


async def test_question_for_versions_is_within_the_time_of_the_call(double: NginxDouble) -> None:
    """Also for who waits for another's question."""
    double.delay = 2.0
    async with Nginx(double.url) as nginx:
        slow = asyncio.create_task(nginx.connections.get(timeout=1.5))
        await asyncio.sleep(0)
        with pytest.raises(aetcd.RequestTimeout):
            await nginx.connections.get(timeout=0.1)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_other_release_in_its_place_is_noticed() -> None:
    """The call that finds the version gone says so, and the next one asks anew."""
    async with NginxDouble() as double, Nginx(double.url) as nginx:
        await nginx.info()
        double.instance.versions = (1, 2, 3, 4)
        with pytest.raises(UnknownVersion):
            await nginx.info()
        assert (await nginx.info()).generation == 6
        assert await nginx.version() == 4


async def test_pinned_version_stays_pinned() -> None:
    """It is what its user asked for."""
    async with NginxDouble((1, 2)) as double, Nginx(double.url, version=9) as nginx:
        for _ in range(2):
            with pytest.raises(UnknownVersion):
                await nginx.info()
        assert nginx.status().version == 9


@pytest.mark.parametrize("location", ["/api", "/api/", "/"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_location_with_and_without_its_slash(location: str, slash: str) -> None:
    """`location /api/` serves nothing at /api, and people write either."""
    async with NginxDouble(location=location) as double:
        async with Nginx(double.origin + location.rstrip("/") + slash) as nginx:
            assert await nginx.version() == 9
            assert (await nginx.info()).version == "1.15.3"


async def test_url_with_a_version_in_it(double: NginxDouble) -> None:
    """It leads to the API, but to no list of versions: the error says what is wrong."""
    async with Nginx(double.url + "/9") as nginx:
        with pytest.raises(NotTheAPI, match="without a version"):
            await nginx.info()


LATER = [
    (2, "stream/keyvals", lambda nginx: nginx.stream.keyvals.list()),
    (2, "stream/keyvals", lambda nginx: nginx.stream.keyval("one").create("a", "b")),
    (3, "stream/zone_sync", lambda nginx: nginx.stream.zone_sync()),
    (5, "http/location_zones", lambda nginx: nginx.http.location_zones.list()),
    (5, "http/location_zones", lambda nginx: nginx.http.location_zones.reset("location_backend")),
    (5, "resolvers", lambda nginx: nginx.resolvers.names()),
    (5, "resolvers", lambda nginx: nginx.resolvers.reset("resolver_zone1")),
    (5, "expire", lambda nginx: nginx.http.keyval("two").create("a", "b", expire=5)),
    (6, "http/limit_conns", lambda nginx: nginx.http.limit_conns.get("addr")),
    (6, "http/limit_reqs", lambda nginx: nginx.http.limit_reqs.list()),
    (6, "stream/limit_conns", lambda nginx: nginx.stream.limit_conns.list()),
    (9, "workers", lambda nginx: nginx.workers.list()),
    (9, "workers", lambda nginx: nginx.workers.reset()),
    (9, "license", lambda nginx: nginx.license()),
]


@pytest.mark.parametrize(("since", "feature", "call"), LATER, ids=[f"{since} {name}" for since, name, _ in LATER])
async def test_what_a_version_lacks_is_unsupported(since: int, feature: str, call: Any) -> None:
    """It is told before it is sent, and it works from the version on that brought it."""
    async with NginxDouble() as double:
        async with Nginx(double.url, version=since - 1) as nginx:
            with pytest.raises(aetcd.Unsupported, match=f"{feature} came with version {since}"):
                await call(nginx)
        assert not double.seen
        async with Nginx(double.url, version=since) as nginx:
            await call(nginx)


@pytest.mark.parametrize("version", range(1, 10))
async def test_every_version_reads_right(version: int) -> None:
    """What all of them have, through the types that each of them has."""
    async with NginxDouble(range(1, version + 1)) as double, Nginx(double.url) as nginx:
        upstream = nginx.http.upstream("backend")
        added = await upstream.servers.add("10.0.0.9:80", fail_timeout="1m 30s", slow_start=5, drain=True)
        assert (added.fail_timeout, added.slow_start, added.drain) == (90, 5, True)
        changed = await upstream.servers.modify(added.id, fail_timeout=7, drain=False)
        assert (changed.fail_timeout, changed.slow_start, bool(changed.drain)) == (7, 5, False)
        double.instance.request("10.0.0.9:80", status=503)
        zone = await nginx.http.server_zones.get("server_backend")
        assert zone.responses.count_5xx == 1
        assert zone.responses.codes == ({"503": 1} if version >= 7 else None)
        assert (zone.ssl is not None) == (version >= 8)
        assert ((await nginx.ssl.get()).verify_failures is not None) == (version >= 8)
        assert ((await nginx.info()).uuid is not None) == (version >= 9)
        with pytest.raises(aetcd.NginxError) as caught:
            await nginx.http.upstreams.get("nothing")
        assert caught.value.status == 404
    sent = [seen.body for seen in double.seen if seen.method == "POST"]
    seconds = b'"fail_timeout":90,' if version < 3 else b'"fail_timeout":"90s",'
    assert seconds in sent[0]


async def test_stream_of_an_old_server_without_a_stream_block() -> None:
    """Up to version 3 it has a code of its own, which is a PathNotFound too."""
    async with NginxDouble((1, 2, 3), stream=False) as double, Nginx(double.url) as nginx:
        with pytest.raises(StreamNotConfigured):
            await nginx.stream.upstreams.list()


@pytest.mark.parametrize("version", [3, 9])
async def test_stream_of_a_new_server_without_a_stream_block(version: int) -> None:
    """It says PathNotFound in all versions, and does not list it at the root."""
    async with NginxDouble(stream=False) as double, Nginx(double.url, version=version) as nginx:
        assert "stream" not in await nginx.endpoints()
        with pytest.raises(PathNotFound):
            await nginx.stream.server_zones.list()


async def test_no_license_on_an_older_server_of_version_9() -> None:
    """It came within that version: the server says so."""
    async with NginxDouble(licensed=False) as double, Nginx(double.url) as nginx:
        with pytest.raises(PathNotFound):
            await nginx.license()


def authorization(seen: Seen) -> str | None:
    return seen.headers.get("Authorization")


async def test_credentials_go_with_every_request(double: NginxDouble, caplog: pytest.LogCaptureFixture) -> None:
    """The question for versions included; a trace does not show them."""
    caplog.set_level(logging.DEBUG, "aetcd.http")
    async with Nginx(double.url, username="ann", password="secret", debug=True) as nginx:
        await nginx.info()
    assert {authorization(seen) for seen in double.seen} == {"Basic YW5uOnNlY3JldA=="}
    async with Nginx(double.url, token="t0ken") as nginx:
        await nginx.info()
    assert authorization(double.seen[-1]) == "Bearer t0ken"
    assert "/api/9/nginx" in caplog.text
    assert "secret" not in caplog.text
    assert "YW5u" not in caplog.text


async def test_closed_client(double: NginxDouble) -> None:
    """It says so, and may be closed again."""
    nginx = Nginx(double.url)
    async with nginx:
        await nginx.info()
    await nginx.aclose()
    with pytest.raises(aetcd.ClientClosed):
        await nginx.info()
    assert "closed" in repr(nginx)
    assert nginx.status().closed


async def test_dead_instance(double: NginxDouble) -> None:
    """Opening never fails; calls say that nothing was sent."""
    await double.stop()
    async with Nginx(double.url, retry=False) as nginx:
        with pytest.raises(aetcd.TransportError) as caught:
            await nginx.http.keyval("one").clear()
        assert caught.value.outcome is aetcd.Outcome.NOT_SENT


def test_room_is_documented() -> None:
    """Every public name is there and has a docstring."""
    from aetcd import nginx as room

    for name in room.__all__:
        assert inspect.getdoc(getattr(room, name)) or name == "NOT_ASKED", name
    assert AccessDenied.__name__ in room.__all__
    assert Missed.__name__ in room.__all__
