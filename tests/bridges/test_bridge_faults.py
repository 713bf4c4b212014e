"""A bridge between two systems that both fail: what NGINX has is never worse than what was last known for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from doubles.nginx import NginxDouble

import aetcd
from aetcd.bridges import Bridge, registry_to_upstream
from aetcd.nginx import MethodDisabled, Nginx, Plan
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Proxy = Callable[[str], Awaitable[TCPProxy]]

OLD = ["10.0.0.1:80", "10.0.0.2:80"]
QUICK: dict[str, Any] = {"debounce": 0.02, "ttl": 2}


@pytest.fixture
async def middle(etcd35: EtcdServer, proxy: Proxy) -> TCPProxy:
    """Before etcd."""
    return await proxy(etcd35.url)


@pytest.fixture
async def far(connect: Connect, middle: TCPProxy) -> aetcd.Client:
    """A client behind it, for the bridge."""
    return await connect(middle.url)


def bridge_of(client: aetcd.Client, nginx: Nginx, **settings: Any) -> Bridge[Plan]:
    return registry_to_upstream("shop", nginx.http.upstream("shop"), client=client, **{**QUICK, **settings})


# Two bridges


async def test_one_of_two_writes(
    client: aetcd.Client, other: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """The second stands by, and is entered at once; when the first leaves it takes over."""
    await client.set("shop/a", "10.1.0.1:80")
    async with AsyncExitStack() as first, Nginx(double.url) as its_own:
        one = await first.enter_async_context(bridge_of(client, nginx))
        async with bridge_of(other, its_own) as two:
            assert [one.leading, two.leading, two.in_step] == [True, False, False]
            assert [two.fresh, two.last_error, two.last_plan] == [True, None, None]
            assert "standing by" in repr(two)
            assert one.election == two.election
            leader = await client.election(one.election or "").leader()
            assert leader is not None
            assert ":" in leader.value
            await client.set("shop/b", "10.1.0.2:80")
            await eventually(lambda: double.servers("shop") == ["10.1.0.1:80", "10.1.0.2:80"])
            assert len(double.writes()) == 4
            await first.aclose()
            await eventually(lambda: two.in_step)
            await client.delete("shop/a")
            await eventually(lambda: double.servers("shop") == ["10.1.0.2:80"])
            assert not one.leading
    assert len(double.writes()) == 5


async def test_a_cancelled_leader(
    client: aetcd.Client, other: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """Hands over at once, also where it was cancelled in the middle of a request, and leaves NGINX as it was."""
    await client.set("shop/a", "10.1.0.1:80")
    leads = asyncio.Event()

    async def lead() -> None:
        async with bridge_of(client, nginx, ttl=15):
            leads.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(lead())
    await leads.wait()
    async with bridge_of(other, nginx, ttl=15) as two:
        double.delay = 60  # what it asks from now on is not answered
        await client.set("shop/b", "10.1.0.2:80")
        await eventually(lambda: double.seen[-1].method == "GET" and len(double.seen) > 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert double.servers("shop") == ["10.1.0.1:80"]
        double.delay = 0
        await eventually(lambda: two.in_step, 8)  # sooner than its session would have ended
        assert double.servers("shop") == ["10.1.0.1:80", "10.1.0.2:80"]


async def test_a_leader_that_loses_etcd(
    far: aetcd.Client,
    middle: TCPProxy,
    client: aetcd.Client,
    nginx: Nginx,
    second: NginxDouble,
    double: NginxDouble,
    eventually: Eventually,
) -> None:
    """It writes no more before the other one may; when it is back it stands by."""
    await client.set("shop/a", "10.1.0.1:80")
    async with Nginx(second.url) as its_own:
        # They write to two instances here, so that it can be told who writes.
        async with (
            bridge_of(far, nginx, election="writer", check_every=0.02) as one,
            bridge_of(client, its_own, election="writer") as two,
        ):
            assert one.leading
            middle.stall()
            await eventually(lambda: two.leading)
            assert not one.leading
            await client.set("shop/b", "10.1.0.2:80")
            await eventually(lambda: second.servers("shop") == ["10.1.0.1:80", "10.1.0.2:80"])
            seen = len(double.seen)
            middle.resume()
            await eventually(lambda: one.fresh and one.last_error is None, 30)
            assert not one.leading
            assert len(double.seen) == seen
            assert double.servers("shop") == ["10.1.0.1:80"]


async def test_a_session_that_was_ended(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """By an administrator: it stands for election again, and goes on."""
    await client.set("shop/a", "10.1.0.1:80")
    async with bridge_of(client, nginx, election="writer") as bridge:
        (entry,) = await client.ls("writer")
        assert entry.lease is not None
        await client.v3.lease.revoke(entry.lease)
        await eventually(lambda: not bridge.leading)
        await eventually(lambda: bridge.in_step)
        await client.set("shop/b", "10.1.0.2:80")
        await eventually(lambda: double.servers("shop") == ["10.1.0.1:80", "10.1.0.2:80"])
        assert bridge.last_error is None


# Faults of etcd


async def test_a_connection_that_is_cut_and_history_that_is_gone(
    far: aetcd.Client,
    middle: TCPProxy,
    client: aetcd.Client,
    nginx: Nginx,
    double: NginxDouble,
    eventually: Eventually,
) -> None:
    """NGINX keeps what it has; then it has all that happened meanwhile, though no watch can tell it any more."""
    for n in range(1, 4):
        await client.set(f"shop/{n}", f"10.1.0.{n}:80")
    async with bridge_of(far, nginx, election=None, check_every=0.02) as bridge:
        middle.refuse()
        middle.cut()
        await eventually(lambda: not bridge.fresh)
        assert not bridge.in_step
        await client.delete("shop/1")
        await client.set("shop/2", "10.1.0.22:80")
        result = await client.set("shop/4", "10.1.0.4:80", full=True)
        await client.v3.compact(result.revision)
        assert double.servers("shop") == ["10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"]
        middle.resume()
        await eventually(lambda: bridge.in_step and len(double.writes()) > 8, 20)
        assert sorted(double.servers("shop")) == ["10.1.0.22:80", "10.1.0.3:80", "10.1.0.4:80"]


async def test_nothing_is_written_while_etcd_is_silent(
    far: aetcd.Client,
    middle: TCPProxy,
    client: aetcd.Client,
    nginx: Nginx,
    double: NginxDouble,
    eventually: Eventually,
) -> None:
    """Not even by the full check, for what it knows is old; and then it goes on."""
    await client.set("shop/a", "10.1.0.1:80")
    async with bridge_of(far, nginx, election=None, check_every=0.02) as bridge:
        middle.stall()
        await eventually(lambda: not bridge.fresh)
        stale: list[str] = []
        double.before = lambda seen: stale.append(str(seen)) if not bridge.fresh else None
        double.upstream("shop").servers.clear()
        await eventually(lambda: bridge._store.mirror.age > 4)  # many times `check_every`
        assert len(stale) <= 1  # which had begun when it was not yet so
        assert not bridge.in_step
        assert not double.servers("shop")
        double.before = lambda seen: None
        middle.resume()
        await eventually(lambda: bridge.in_step and double.servers("shop") == ["10.1.0.1:80"], 20)


async def test_etcd_killed_and_restarted(
    etcd35: EtcdServer, connect: Connect, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """NGINX keeps what it has as long as it takes; the bridge leads again by itself, and follows."""
    async with EtcdServer(binary=etcd35.binary) as server:
        client = await connect(server.url)
        await client.set("shop/a", "10.1.0.1:80")
        async with bridge_of(client, nginx) as bridge:
            await server.kill()
            await eventually(lambda: not bridge.fresh and not bridge.leading)
            assert double.servers("shop") == ["10.1.0.1:80"]
            await server.restart()
            await eventually(lambda: bridge.in_step, 30)
            assert bridge.last_error is None
            await client.set("shop/b", "10.1.0.2:80")
            await eventually(lambda: double.servers("shop") == ["10.1.0.1:80", "10.1.0.2:80"])


async def test_a_cluster_that_was_replaced_by_an_empty_one(
    etcd35: EtcdServer, connect: Connect, proxy: Proxy, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """All registrations are gone, and the upstream keeps its servers; the first new one counts."""
    middle = await proxy(etcd35.url)
    client = await connect(middle.url)
    await client.set("shop/a", "10.1.0.1:80")
    async with EtcdServer(binary=etcd35.binary) as empty, bridge_of(client, nginx) as bridge:
        client.use_peers([empty.url])
        middle.refuse()
        middle.cut()
        await eventually(lambda: isinstance(bridge.last_error, aetcd.CoordinationError) and bridge.leading, 30)
        assert double.servers("shop") == ["10.1.0.1:80"]
        await (await connect(empty.url)).set("shop/b", "10.1.0.2:80")
        await eventually(lambda: double.servers("shop") == ["10.1.0.2:80"], 20)


async def test_a_permission_that_was_taken_and_given_back(
    etcd35: EtcdServer, connect: Connect, proxy: Proxy, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """What ends a watch for good ends no bridge: it says so, keeps NGINX as it is, and tries again."""
    async with EtcdServer(binary=etcd35.binary) as server:
        admin = aetcd.Client(server.url, protocol="v3", username="root", password="r")
        open_client = await connect(server.url, namespace="")
        await open_client.set("shop/a", "10.1.0.1:80")
        auth = open_client.v3.auth
        for role in ("root", "reader"):
            await auth.add_role(role)
        await auth.add_user("root", "r")
        await auth.add_user("bridge", "b")
        await auth.grant_role("root", "root")
        await auth.grant_role("bridge", "reader")
        await auth.grant_permission("reader", "READ", "shop", range_end="shop0")
        await auth.enable()
        middle = await proxy(server.url)
        async with admin:
            client = await connect(middle.url, namespace="", username="bridge", password="b")
            async with bridge_of(client, nginx, election=None) as bridge:
                assert bridge.in_step
                await admin.v3.auth.revoke_permission("reader", "shop", range_end="shop0")
                middle.cut()
                await eventually(lambda: bridge.last_error is not None, 20)
                assert not bridge.fresh
                await admin.set("shop/b", "10.1.0.2:80")
                assert double.servers("shop") == ["10.1.0.1:80"]
                await admin.v3.auth.grant_permission("reader", "READ", "shop", range_end="shop0")
                await eventually(lambda: bridge.in_step and len(double.servers("shop")) == 2, 20)
                assert bridge.last_error is None


async def test_no_etcd_at_the_beginning(connect: Connect, nginx: Nginx, double: NginxDouble) -> None:
    """Is an error of entering: nothing is known, and nothing was written or left running."""
    client = await connect("http://127.0.0.1:9", timeout=0.5)
    with pytest.raises(aetcd.TransportError):
        async with bridge_of(client, nginx):
            pass
    assert double.servers("shop") == OLD


async def test_a_client_that_is_closed(
    connect: Connect, client: aetcd.Client, nginx: Nginx, double: NginxDouble
) -> None:
    """Ends the bridge, which says so; NGINX keeps what it has."""
    await client.set("shop/a", "10.1.0.1:80")
    closing = await connect()
    async with bridge_of(closing, nginx) as bridge:
        await closing.aclose()
        assert isinstance(bridge.last_error, aetcd.ClientClosed)
        assert [bridge.leading, bridge.fresh, bridge.in_step] == [False, False, False]
    assert double.servers("shop") == ["10.1.0.1:80"]


# Faults of NGINX


async def test_an_nginx_that_is_away(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """From the beginning or later: the block goes on, the error is told, logged once, and it is tried again."""
    await client.set("shop/a", "10.1.0.1:80")
    await double.stop()
    async with bridge_of(client, nginx) as bridge:
        assert isinstance(bridge.last_error, aetcd.TransportError)
        assert [bridge.leading, bridge.in_step] == [True, False]
        await client.set("shop/b", "10.1.0.2:80")
        await double.start()
        await eventually(lambda: bridge.in_step)
        assert bridge.last_error is None
        assert double.servers("shop") == ["10.1.0.1:80", "10.1.0.2:80"]
    told = [record for record in caplog.records if record.levelname == "WARNING" and "bridge" in record.message]
    assert len(told) == len({record.exc_info or record.message.split(": ")[1] for record in told})


async def test_an_nginx_that_refuses(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """Its own error is told, until it takes it."""
    await client.set("shop/a", "10.1.0.1:80")
    double.instance.write = False
    async with bridge_of(client, nginx) as bridge:
        assert isinstance(bridge.last_error, MethodDisabled)
        assert double.servers("shop") == OLD
        double.instance.write = True
        await eventually(lambda: bridge.in_step)
        assert bridge.last_error is None


async def test_an_nginx_that_is_silent(
    client: aetcd.Client, double: NginxDouble, proxy: Proxy, eventually: Eventually
) -> None:
    """Entering does not wait for it, and it has the newest state when it answers again."""
    await client.set("shop/a", "10.1.0.1:80")
    middle = await proxy(double.origin)
    middle.stall()
    async with Nginx(middle.url + "/api", timeout=60) as nginx, bridge_of(client, nginx) as bridge:
        assert [bridge.leading, bridge.in_step, bridge.last_plan] == [True, False, None]
        await client.delete("shop/a")
        await client.set("shop/b", "10.1.0.2:80")
        middle.resume()
        await eventually(lambda: bridge.in_step)
        assert double.servers("shop") == ["10.1.0.2:80"]


async def test_an_answer_that_is_lost(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """A server that was added, though nobody was told, is not added again."""
    await client.set("shop/a", "10.1.0.1:80")
    lost: list[str] = []

    def cut(seen: Any) -> bool:
        if seen.method == "POST" and not lost:
            lost.append(str(seen))
            return True
        return False

    double.cut = cut
    async with bridge_of(client, nginx) as bridge:
        await eventually(lambda: bridge.in_step)
        assert lost
        assert double.servers("shop") == ["10.1.0.1:80"]
    assert [write.partition(" ")[0] for write in double.writes()] == ["POST", "DELETE", "DELETE"]


async def test_a_restarted_nginx(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """That forgot what the API had told it has it again from the next full check."""
    await client.set("shop/a", "10.1.0.1:80")
    async with bridge_of(client, nginx, check_every=0.1):
        await double.stop()
        double.upstream("shop").servers.clear()
        for address in OLD:
            double.upstream("shop").put(server=address)
        await double.start()
        await eventually(lambda: double.servers("shop") == ["10.1.0.1:80"])


# Its own life


async def test_cancelled_while_it_is_entered(
    connect: Connect, client: aetcd.Client, nginx: Nginx, double: NginxDouble
) -> None:
    """At each request and each answer of etcd in turn: nothing runs on, and no candidate is left behind."""
    await client.set("shop/a", "10.1.0.1:80")
    tick: Callable[[], None] = lambda: None  # noqa: E731
    trace = aetcd.Trace(on_request=lambda event: tick(), on_response=lambda event: tick())
    tried = 0
    while True:
        tried += 1
        seen = 0
        # A client for each, so that each has the same requests to send.
        entering = await connect(trace=trace)

        async def enter(entering: aetcd.Client = entering) -> None:
            async with bridge_of(entering, nginx, election="writer"):
                pass

        task = asyncio.create_task(enter())

        def count(task: asyncio.Task[None] = task, last: int = tried) -> None:
            nonlocal seen
            seen += 1
            if seen == last:
                task.cancel()

        tick = count
        await asyncio.wait([task], timeout=10)
        assert task.done()
        tick = lambda: None  # noqa: E731
        await entering.aclose()
        assert not await client.exists("writer")
        if not task.cancelled():
            break
    assert tried > 6


async def test_a_bug_ends_no_other_work(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """It is told by the bridge, which does nothing more."""
    await client.set("shop/a", "10.1.0.1:80")
    upstream = nginx.http.upstream("shop")

    async def reconcile(*args: Any, **settings: Any) -> Plan:
        raise ZeroDivisionError

    upstream.reconcile = reconcile  # type: ignore[method-assign]
    async with registry_to_upstream("shop", upstream, client=client, **QUICK) as bridge:
        await eventually(lambda: bridge.last_error is not None)
        assert not bridge.leading
        assert await client.get("shop/a") == "10.1.0.1:80"


async def test_leaving_while_etcd_is_silent(
    far: aetcd.Client, middle: TCPProxy, client: aetcd.Client, nginx: Nginx, double: NginxDouble
) -> None:
    """Ends within seconds, and nothing follows etcd any more."""
    await client.set("shop/a", "10.1.0.1:80")
    async with asyncio.timeout(15):
        async with bridge_of(far, nginx, ttl=60) as bridge:
            assert bridge.in_step
            middle.stall()
    assert not [watch for watch in far.status().watches if "shop" in str(watch)]
    assert not bridge.leading
    assert double.servers("shop") == ["10.1.0.1:80"]


async def test_it_is_entered_once(client: aetcd.Client, nginx: Nginx, double: NginxDouble) -> None:
    """A second time is refused, and changes nothing."""
    await client.set("shop/a", "10.1.0.1:80")
    async with bridge_of(client, nginx) as bridge:
        with pytest.raises(aetcd.CoordinationError):
            await bridge.__aenter__()
        assert bridge.in_step


async def test_two_tasks_may_enter_and_leave_it(client: aetcd.Client, nginx: Nginx, double: NginxDouble) -> None:
    """As frameworks do, which start and stop in tasks of their own."""
    await client.set("shop/a", "10.1.0.1:80")
    bridge = bridge_of(client, nginx)
    await asyncio.create_task(bridge.__aenter__())
    assert bridge.in_step
    await asyncio.create_task(bridge.__aexit__(None, None, None))
    assert not bridge.leading
