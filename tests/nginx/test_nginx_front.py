"""Real nginx in front of the API: what a proxy does to answers, connections and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from doubles.nginx import NginxDouble
from doubles.nginx_front import Front

import aetcd
from aetcd.nginx import (
    AccessDenied,
    BodyTooLarge,
    Fleet,
    GatewayFailed,
    Missed,
    Nginx,
    NotTheAPI,
    PartialFailure,
    RequestsLimited,
    Sample,
    UpstreamNotFound,
)

Open = Callable[..., Any]


@pytest.fixture
async def front(double: NginxDouble, tmp_path: Path) -> AsyncIterator[Open]:
    """`await front(inside=...)`: a proxy before the double, or `target`, with more directives in its location."""
    async with AsyncExitStack() as opened:

        async def start(target: str = double.origin, **settings: Any) -> Front:
            folder = tmp_path / f"nginx{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return await opened.enter_async_context(Front(folder, target, **settings))

        yield start


async def test_connection_is_kept(double: NginxDouble, front: Open) -> None:
    """One for all requests that follow each other."""
    proxy = await front()
    async with Nginx(proxy.url) as nginx:
        for number in range(10):
            await nginx.http.keyval("one").create(str(number), "x")
        assert len(await nginx.http.keyval("one").all()) == 10
    async with asyncio.timeout(5):
        while len(proxy.log()) < 12:
            await asyncio.sleep(0.01)
    assert len({connection for connection, *_ in proxy.log()}) == 1


@pytest.mark.parametrize("inside", ["keepalive_requests 2;", "keepalive_timeout 0;"])
async def test_connection_that_the_proxy_closes(double: NginxDouble, front: Open, inside: str) -> None:
    """nginx says so in its last answer: no write is lost to it."""
    proxy = await front(server=inside)
    async with Nginx(proxy.url) as nginx:
        for number in range(10):
            await nginx.http.keyval("one").create(str(number), "x")
    assert len(double.pairs()) == 10
    assert len({connection for connection, *_ in proxy.log()}) >= 5


async def test_chunked_answers(double: NginxDouble, front: Open) -> None:
    """As they come, without buffering in between."""
    double.chunked = True
    proxy = await front(inside="proxy_buffering off;")
    async with aiohttp.ClientSession() as session, session.get(proxy.url + "/9/nginx") as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
    async with Nginx(proxy.url) as nginx:
        assert (await nginx.info()).build == "nginx-plus-r16"
        assert set(await nginx.http.upstreams.list()) == {"backend", "hashed"}
        with pytest.raises(UpstreamNotFound) as caught:
            await nginx.http.upstreams.get("nothing")
        assert caught.value.request_id


async def test_api_that_is_down_behind_it(double: NginxDouble, front: Open) -> None:
    """A read says 502; of a write nobody knows, for the proxy may have passed it on."""
    proxy = await front()
    async with Nginx(proxy.url, retry=2) as nginx:
        await nginx.info()
        await double.stop()
        with pytest.raises(GatewayFailed, match="502 Bad Gateway") as caught:
            await nginx.info()
        assert caught.value.status == 502
        assert caught.value.code is None
        with pytest.raises(aetcd.OutcomeUnknown):
            await nginx.http.keyval("one").create("a", "1")
        await double.start()
        await nginx.http.keyval("one").create("a", "1")


async def test_read_survives_a_short_failure(double: NginxDouble, front: Open) -> None:
    """It is sent again until the API is back."""
    proxy = await front(inside="proxy_next_upstream off;", server="")
    async with Nginx(proxy.url) as nginx:
        await nginx.info()
        await double.stop()
        reading = asyncio.create_task(nginx.info())
        async with asyncio.timeout(5):
            while not any(status == "502" for *_, status in proxy.log()):
                await asyncio.sleep(0.01)
        await double.start()
        assert (await reading).generation == 6


async def test_slow_api_behind_it(double: NginxDouble, front: Open) -> None:
    """The proxy gives up, the API goes on: the write was applied, and its caller is told that it may have been."""
    proxy = await front(inside="proxy_read_timeout 200ms;")
    async with Nginx(proxy.url, retry=1) as nginx:
        upstream = nginx.http.upstream("backend")
        await nginx.version()
        double.delay = 1.0
        with pytest.raises(aetcd.OutcomeUnknown, match="504"):
            await upstream.servers.add("10.0.0.7:80")
        assert "10.0.0.7:80" in double.servers()
        with pytest.raises(GatewayFailed) as caught:
            await upstream.get()
        assert caught.value.status == 504
        double.delay = 0.0
        assert not await upstream.reconcile(["10.0.0.1:8088", "10.0.0.1:8089", "10.0.0.7:80"])


async def test_patience_is_the_callers(double: NginxDouble, front: Open) -> None:
    """A slow answer is waited for within `timeout`, and not beyond it."""
    proxy = await front()
    async with Nginx(proxy.url) as nginx:
        await nginx.version()
        double.delay = 0.4
        assert (await nginx.info(timeout=5)).generation == 6
        with pytest.raises(aetcd.RequestTimeout):
            await nginx.info(timeout=0.1)


async def test_denied(front: Open) -> None:
    """By address: it is nginx's own answer, not the API's."""
    proxy = await front(inside="deny all;")
    async with Nginx(proxy.url) as nginx:
        with pytest.raises(AccessDenied, match="403 Forbidden") as caught:
            await nginx.info()
        assert isinstance(caught.value, aetcd.PermissionDenied)
        assert isinstance(caught.value, aetcd.NginxError)


async def test_basic_authentication(front: Open, tmp_path: Path) -> None:
    """Without a password 401; with it all is as ever."""
    (tmp_path / "users").write_text("ann:{PLAIN}secret\n")
    proxy = await front(inside=f"auth_basic api; auth_basic_user_file {tmp_path}/users;")
    async with Nginx(proxy.url) as nginx:
        with pytest.raises(AccessDenied, match="401 Authorization Required"):
            await nginx.http.keyval("one").create("a", "1")
    async with Nginx(proxy.url, username="ann", password="wrong") as nginx:
        with pytest.raises(AccessDenied):
            await nginx.info()
    async with Nginx(proxy.url, username="ann", password="secret") as nginx:
        await nginx.http.keyval("one").create("a", "1")


async def test_bearer_token(front: Open) -> None:
    """Whatever checks it."""
    proxy = await front(inside='if ($http_authorization != "Bearer t0ken") { return 401; }')
    async with Nginx(proxy.url, token="other") as nginx:
        with pytest.raises(AccessDenied):
            await nginx.info()
    async with Nginx(proxy.url, token="t0ken") as nginx:
        assert (await nginx.info()).generation == 6


async def test_read_only_by_limit_except(double: NginxDouble, front: Open) -> None:
    """Writes are refused before the API sees them."""
    proxy = await front(inside="limit_except GET { deny all; }")
    async with Nginx(proxy.url) as nginx:
        assert (await nginx.info()).generation == 6
        with pytest.raises(AccessDenied):
            await nginx.http.requests.reset()
    assert not double.writes()


async def test_wrong_prefix(front: Open) -> None:
    """A 404 of nginx is not one of the API."""
    proxy = await front()
    async with Nginx(proxy.origin + "/status", version=9) as nginx:
        with pytest.raises(NotTheAPI, match="404 Not Found"):
            await nginx.http.upstreams.get("backend")


async def test_redirect_to_the_slash(front: Open) -> None:
    """nginx sends who asks for /api to /api/ where only that is passed on: the versions are found all the same."""
    proxy = await front(location="/api/")
    async with Nginx(proxy.url) as nginx:
        assert await nginx.version() == 9
        assert (await nginx.info()).generation == 6


async def test_page_in_place_of_an_answer(double: NginxDouble, front: Open) -> None:
    """A form to log in has a good status: a read says that it is not the API, and of a write nothing is known."""
    proxy = await front(inside='default_type text/html; return 200 "<html>Log in</html>";')
    async with Nginx(proxy.url, version=9) as nginx:
        with pytest.raises(NotTheAPI, match="Log in"):
            await nginx.info()
        with pytest.raises(aetcd.OutcomeUnknown):
            await nginx.http.keyval("one").create("a", "1")


async def test_too_many_requests(front: Open) -> None:
    """429 has a class of its own, which passes by itself."""
    proxy = await front(inside="return 429;")
    async with Nginx(proxy.url, version=9) as nginx:
        with pytest.raises(RequestsLimited):
            await nginx.info()


async def test_body_above_the_limit(double: NginxDouble, front: Open) -> None:
    """413 is nginx's; `sync` sends pair by pair then."""
    proxy = await front(inside="client_max_body_size 1k;")
    wanted = {str(number): "x" * 200 for number in range(20)}
    async with Nginx(proxy.url) as nginx:
        zone = nginx.http.keyval("one")
        with pytest.raises(BodyTooLarge):
            await zone.fill(wanted)
        assert not double.pairs()
        await zone.sync(wanted)
        assert double.pairs() == wanted


@pytest.mark.parametrize("name", ["a b/c%", "ü", "a?b#c", "%2F"])
async def test_name_survives_the_proxy(double: NginxDouble, front: Open, name: str) -> None:
    """`proxy_pass` without a path of its own passes the target on as it came."""
    double.instance.keyvals["http"][name] = double.instance.keyvals["http"]["one"]
    proxy = await front()
    async with Nginx(proxy.url) as nginx:
        await nginx.http.keyval(name).create(name, name)
        assert await nginx.http.keyval(name).get(name) == name


async def test_fleet_with_a_dead_api_behind_one_proxy(double: NginxDouble, front: Open) -> None:
    """The other one has the change; of this one it is told what came."""
    async with NginxDouble() as gone:
        target = gone.origin
    good, bad = await front(), await front(target)
    async with Fleet([good.url, bad.url], timeout=2, retry=2) as fleet:
        with pytest.raises(PartialFailure, match="502 Bad Gateway") as caught:
            await fleet.http.upstream("backend").reconcile(["10.0.0.7:80"])
    assert list(caught.value.outcomes.succeeded) == [good.url]
    assert isinstance(caught.value.outcomes[bad.url].error, GatewayFailed)
    assert double.servers() == ["10.0.0.7:80"]


async def test_watch_goes_on_through_a_502(double: NginxDouble, front: Open) -> None:
    """Looks that failed are told, and samples come again."""
    proxy = await front()
    async with Nginx(proxy.url, retry=1) as nginx:
        async with nginx.watch(interval=0.05) as samples:
            await double.stop()
            missed = await anext(samples)
            assert isinstance(missed, Missed)
            assert isinstance(missed.error, GatewayFailed)
            double.instance.request("10.0.0.1:8088")
            await double.start()
            async with asyncio.timeout(15):
                async for item in samples:
                    if isinstance(item, Sample):
                        break
            assert isinstance(item, Sample)
            assert item.requests == 1
