"""A registry feeds an upstream: from the first moment on, by every change, and by one writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from attrs import frozen
from doubles.nginx import NginxDouble

import aetcd
from aetcd.bridges import registry_to_upstream
from aetcd.nginx import Fleet, Nginx, PartialFailure, Plan, WantedLike
from aetcd.testing import TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Proxy = Callable[[str], Awaitable[TCPProxy]]

QUICK: dict[str, Any] = {"debounce": 0.02, "ttl": 2}


@frozen
class About:
    weight: int = 1


@pytest.fixture
async def services(client: aetcd.Client) -> AsyncIterator[aetcd.Registry[About]]:
    """With one instance, `a`, at 10.1.0.1:8080."""
    registry = client.registry("services/shop", type=About)
    async with registry.register("http://10.1.0.1:8080", id="a", metadata=About()):
        yield registry


async def test_registered_instances_become_the_servers(
    connect: Connect, protocol: str, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """When the block is entered already, and then as they come and go; leaving it leaves them."""
    client = await connect(protocol=protocol)
    registry = client.registry("services/shop", type=About)
    async with registry.register("http://10.1.0.1:8080", id="a", metadata=About()):
        async with registry_to_upstream(registry, nginx.http.upstream("shop"), **QUICK) as bridge:
            assert double.servers("shop") == ["10.1.0.1:8080"]
            assert [bridge.leading, bridge.in_step, bridge.fresh, bridge.last_error] == [True, True, True, None]
            assert isinstance(bridge.last_plan, Plan)
            assert [step.server for step in bridge.last_plan.removed] == ["10.0.0.1:80", "10.0.0.2:80"]
            assert "in step" in repr(bridge)
            async with registry.register("10.1.0.2:8080", id="b", metadata=About()):
                await eventually(lambda: double.servers("shop") == ["10.1.0.1:8080", "10.1.0.2:8080"])
            await eventually(lambda: double.servers("shop") == ["10.1.0.1:8080"] and bridge.in_step)
        assert [bridge.leading, bridge.in_step] == [False, False]
        assert double.servers("shop") == ["10.1.0.1:8080"]
        assert await client.election(bridge.election or "").leader() is None


async def test_a_plain_prefix(client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually) -> None:
    """Each key under it is a server: an address, a URL or a JSON object with more."""
    await client.set("shop/a", "10.1.0.1:8080")
    await client.set("shop/b", "https://user:secret@10.1.0.2/path")
    await client.set("shop/far/c", {"server": "10.1.0.3:80", "weight": 7})
    await client.set("shop-x", "10.9.9.9:80")
    async with registry_to_upstream("shop/", nginx.http.upstream("shop"), client=client, **QUICK):
        assert double.servers("shop") == ["10.1.0.1:8080", "10.1.0.2:443", "10.1.0.3:80"]
        assert double.server("10.1.0.3:80", "shop").numbers["weight"] == 7
        await client.delete("shop/a")
        await eventually(lambda: len(double.servers("shop")) == 2)


async def test_metadata_may_tell_the_parameters(
    services: aetcd.Registry[About], nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """By a function of the user's, also where only they change; None leaves an instance out."""

    def server(instance: aetcd.Instance[About]) -> WantedLike | None:
        address = instance.address.removeprefix("http://")
        return {"server": address, "weight": instance.metadata.weight} if instance.metadata.weight else None

    async with (
        services.register("10.1.0.2:80", id="b", metadata=About(5)) as b,
        registry_to_upstream(services, nginx.http.upstream("shop"), server=server, **QUICK) as bridge,
    ):
        assert double.server("10.1.0.2:80", "shop").numbers["weight"] == 5
        await b.update(About(9))
        await eventually(lambda: double.server("10.1.0.2:80", "shop").numbers["weight"] == 9)
        await b.update(About(0))
        await eventually(lambda: double.servers("shop") == ["10.1.0.1:8080"])
        assert not bridge.left_out


async def test_entries_that_make_no_sense_hide_no_others(
    services: aetcd.Registry[About],
    client: aetcd.Client,
    nginx: Nginx,
    double: NginxDouble,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are left out, told, and logged once."""
    await client.set("services/shop/torn", "{")
    async with (
        services.register("no address at all", id="b", metadata=About()),
        services.register("10.1.0.1:8080", id="same", metadata=About()),
        registry_to_upstream(services, nginx.http.upstream("shop"), **QUICK) as bridge,
    ):
        assert double.servers("shop") == ["10.1.0.1:8080"]
        assert bridge.in_step
        assert sorted(bridge.left_out) == ["b", "torn"]
        assert "no address" in bridge.left_out["b"]
    assert caplog.text.count("'b' of registry 'services/shop' is left out") == 1


async def test_one_server_wanted_in_two_ways(client: aetcd.Client, nginx: Nginx, double: NginxDouble) -> None:
    """The first by its id counts, the other one is told."""
    await client.set("shop/b", {"server": "10.1.0.1:80", "weight": 5})
    await client.set("shop/a", {"server": "10.1.0.1:80", "weight": 2})
    async with registry_to_upstream("shop", nginx.http.upstream("shop"), client=client, **QUICK) as bridge:
        assert double.server("10.1.0.1:80", "shop").numbers["weight"] == 2
        assert list(bridge.left_out) == ["b"]


async def test_changes_are_written_together(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """Those that come within the debounce, one after the other: by one look at the upstream, and a request for each."""
    await client.set("shop/00", "10.1.0.100:80")
    async with registry_to_upstream("shop", nginx.http.upstream("shop"), client=client, debounce=1.5) as bridge:
        looks, writes = len(reads(double)), len(double.writes())
        for n in range(1, 4):
            await client.set(f"shop/{n:02}", f"10.1.0.{n}:80")
            await eventually(lambda n=n: f"shop/{n:02}" in bridge._store.mirror)
        await eventually(lambda: bridge.in_step)
        assert len(double.servers("shop")) == 4
        assert [len(reads(double)) - looks, len(double.writes()) - writes] == [1, 3]


async def test_a_full_check_undoes_what_others_did(
    services: aetcd.Registry[About], nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """Every `check_every` seconds, without any change in etcd; what is right costs a read and no write."""
    upstream = nginx.http.upstream("shop")
    async with registry_to_upstream(services, upstream, check_every=0.05, **QUICK) as bridge:
        double.upstream("shop").servers.clear()
        await eventually(lambda: double.servers("shop") == ["10.1.0.1:8080"])
        writes, told = len(double.writes()), set[bool]()
        double.before = lambda seen: told.add(bridge.in_step)
        seen = len(reads(double))
        await eventually(lambda: len(reads(double)) > seen + 3)
        assert len(double.writes()) == writes
        assert told == {True}  # also while it looks


async def test_nobody_registered(
    client: aetcd.Client, nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """The upstream keeps what it has, from the beginning and later, and the bridge says so."""
    registry = client.registry("services/shop")
    async with registry_to_upstream(registry, nginx.http.upstream("shop"), **QUICK) as bridge:
        assert double.servers("shop") == ["10.0.0.1:80", "10.0.0.2:80"]
        assert isinstance(bridge.last_error, aetcd.CoordinationError)
        assert [bridge.leading, bridge.in_step, bridge.last_plan] == [True, False, None]
        async with registry.register("10.1.0.1:8080"):
            await eventually(lambda: bridge.in_step)
            assert bridge.last_error is None
            assert double.servers("shop") == ["10.1.0.1:8080"]
        await eventually(lambda: bridge.last_error is not None)
        assert "keeps what it has" in str(bridge.last_error)
        assert double.servers("shop") == ["10.1.0.1:8080"]
    assert len(double.writes()) == 3


async def test_allow_empty(client: aetcd.Client, nginx: Nginx, double: NginxDouble) -> None:
    """Where that is what the user wants."""
    registry = client.registry("services/shop")
    async with registry_to_upstream(registry, nginx.http.upstream("shop"), allow_empty=True, **QUICK) as bridge:
        assert bridge.in_step
    assert not double.servers("shop")


async def test_a_stream_upstream(services: aetcd.Registry[About], nginx: Nginx, double: NginxDouble) -> None:
    """The same, but that it cannot drain, which is said at once."""
    async with registry_to_upstream(services, nginx.stream.upstream("shop"), **QUICK):
        assert double.servers("shop", "stream") == ["10.1.0.1:8080"]
    with pytest.raises(aetcd.Unsupported):
        registry_to_upstream(services, nginx.stream.upstream("shop"), drain=1)


async def test_draining_keeps_no_change_waiting(
    services: aetcd.Registry[About], nginx: Nginx, double: NginxDouble, eventually: Eventually
) -> None:
    """A server that drains for minutes still serves its sessions, while one that has come is added."""
    double.server("10.0.0.2:80", "shop").active = 3
    async with registry_to_upstream(services, nginx.http.upstream("shop"), drain=120, **QUICK) as bridge:
        assert double.server("10.0.0.2:80", "shop").drain
        assert not bridge.in_step
        async with services.register("10.1.0.2:8080", id="b", metadata=About()):
            await eventually(lambda: "10.1.0.2:8080" in double.servers("shop"))
            assert double.server("10.0.0.2:80", "shop").drain
            double.server("10.0.0.2:80", "shop").active = 0
            await eventually(lambda: bridge.in_step)
            assert double.servers("shop") == ["10.1.0.1:8080", "10.1.0.2:8080"]


async def test_leaving_while_it_drains(services: aetcd.Registry[About], nginx: Nginx, double: NginxDouble) -> None:
    """Waits for nothing, and leaves the server draining."""
    double.server("10.0.0.2:80", "shop").active = 3
    async with asyncio.timeout(20):
        async with registry_to_upstream(services, nginx.http.upstream("shop"), drain=120, **QUICK):
            pass
    assert double.server("10.0.0.2:80", "shop").drain


async def test_a_fleet(
    services: aetcd.Registry[About], double: NginxDouble, second: NginxDouble, eventually: Eventually
) -> None:
    """Each instance is brought in step; one that is away is named, holds back no other, and has it when it is back."""
    async with Fleet([double.url, second.url], timeout=1) as fleet:
        async with registry_to_upstream(services, fleet.http.upstream("shop"), **QUICK) as bridge:
            assert double.servers("shop") == second.servers("shop") == ["10.1.0.1:8080"]
            assert bridge.last_plan is not None
            assert set(bridge.last_plan) == {double.url, second.url}
            await second.stop()
            async with services.register("10.1.0.2:8080", id="b", metadata=About()):
                await eventually(lambda: double.servers("shop") == ["10.1.0.1:8080", "10.1.0.2:8080"])
                await eventually(lambda: isinstance(bridge.last_error, PartialFailure))
                assert isinstance(bridge.last_error, PartialFailure)
                assert list(bridge.last_error.outcomes.failed) == [second.url]
                await second.start()
                await eventually(lambda: bridge.in_step, 20)
                assert second.servers("shop") == ["10.1.0.1:8080", "10.1.0.2:8080"]
                assert bridge.last_error is None


async def test_a_silent_instance_of_a_fleet(
    services: aetcd.Registry[About], double: NginxDouble, second: NginxDouble, proxy: Proxy, eventually: Eventually
) -> None:
    """The others have each change at once, not after the silent one's time-outs."""
    middle = await proxy(second.origin)
    async with Fleet([double.url, middle.url + "/api"], timeout=60) as fleet, AsyncExitStack() as registered:
        async with registry_to_upstream(services, fleet.http.upstream("shop"), **QUICK) as bridge:
            middle.stall()
            for n in range(2, 5):
                address = f"10.1.0.{n}:8080"
                await registered.enter_async_context(services.register(address, metadata=About()))
                await eventually(lambda address=address: address in double.servers("shop"))
            assert not bridge.in_step
            middle.resume()
            await eventually(lambda: bridge.in_step)
            assert set(second.servers("shop")) == set(double.servers("shop"))


async def test_without_an_election(
    services: aetcd.Registry[About], other: aetcd.Client, nginx: Nginx, double: NginxDouble, second: NginxDouble
) -> None:
    """Each one writes, and nothing of an election stands in etcd."""
    async with (
        Nginx(second.url) as far,
        registry_to_upstream(services, nginx.http.upstream("shop"), election=None, **QUICK) as one,
        registry_to_upstream(services, far.http.upstream("shop"), election=None, **QUICK) as two,
    ):
        assert [one.in_step, two.in_step, one.election] == [True, True, None]
        assert double.servers("shop") == second.servers("shop") == ["10.1.0.1:8080"]
        assert [node.key for node in await other.ls("")] == ["services"]
    assert not one.leading


def reads(double: NginxDouble) -> list[str]:
    """Looks at the servers."""
    return [str(seen) for seen in double.seen if seen.method == "GET" and "/upstreams/shop/servers" in seen.target]
