"""Service instances: registered for as long as they live, watched, picked, and fed to a pool."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, aclosing
from typing import Any

import pytest
from attrs import frozen

import aetcd
from aetcd.recipes import _picker
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Keys = Callable[[str], Awaitable[list[str]]]


@frozen
class Load:
    weight: int


async def test_registered_for_a_block(client: aetcd.Client, other: aetcd.Client, keys: Keys) -> None:
    """All see it, with its metadata as the type asked for, until the block ends."""
    registry = client.registry("api", type=Load)
    async with registry.register("http://one", metadata=Load(3), id="one") as one:
        assert one.held
        assert not one.lost
        async with other.registry("api").register("http://two", metadata={"weight": 5}) as two:
            found = await registry.instances()
            assert {(found.address, found.metadata) for found in found} == {
                ("http://one", Load(3)),
                ("http://two", Load(5)),
            }
            assert one.instance in found
            assert two.instance.id in {found.id for found in found}
        assert await registry.instances() == [one.instance]
        await one.update(Load(4))
        assert [found.metadata for found in await registry.instances()] == [Load(4)]
    assert await registry.instances() == []
    assert await keys("api") == []
    with pytest.raises(aetcd.SessionLost):
        await one.update(Load(5))


async def test_an_id_that_is_taken(client: aetcd.Client, other: aetcd.Client) -> None:
    """Is refused, also to one who says the same; it is free again when the first has gone."""
    async with client.registry("api").register("http://one", id="one") as one:
        with pytest.raises(aetcd.CoordinationError, match="one"):
            async with other.registry("api").register("http://one", id="one"):
                pytest.fail("two have one id")
        assert one.held
        assert [found.address for found in await other.registry("api").instances()] == ["http://one"]
        with pytest.raises(aetcd.CoordinationError, match="one"):
            await one.open()
    async with other.registry("api").register("http://one", id="one"):
        pass


async def test_what_does_not_read_hides_nothing(client: aetcd.Client, caplog: pytest.LogCaptureFixture) -> None:
    """An entry that somebody else wrote is left out, and a warning names it."""
    registry = client.registry("api", type=Load)
    await client.set("api/junk", "junk")
    await client.set("api-2/other", "other service")
    async with registry.register("http://one", metadata=Load(1)), registry.picker() as picker:
        with caplog.at_level(logging.WARNING, "aetcd"):
            assert [found.address for found in await registry.instances()] == ["http://one"]
        assert "api/junk" in caplog.text
        assert [found.address for found in picker.instances] == ["http://one"]


async def test_watching_a_service(client: aetcd.Client, other: aetcd.Client) -> None:
    """The instances now, and after each change."""
    seen: list[list[str]] = []
    changed = asyncio.Event()

    async def watch() -> None:
        async with aclosing(other.registry("api").watch()) as states:
            async for instances in states:
                seen.append(sorted(found.address for found in instances))
                changed.set()

    async def shown(addresses: list[str]) -> None:
        async with asyncio.timeout(10):
            while not seen or seen[-1] != addresses:
                changed.clear()
                await changed.wait()

    watching = asyncio.ensure_future(watch())
    await shown([])
    async with client.registry("api").register("a"):
        await shown(["a"])
        async with client.registry("api").register("b"):
            await shown(["a", "b"])
        await shown(["a"])
    await shown([])
    watching.cancel()
    await asyncio.wait([watching])


async def test_an_instance_that_is_removed(
    client: aetcd.Client, keys: Keys, end_session: Callable[[str], Awaitable[None]]
) -> None:
    """Revoked, or deleted by hand: it is told; its block goes on."""
    for how in (end_session, client.delete):
        async with client.registry("api").register("a") as one, asyncio.timeout(10):
            (own,) = await keys("api")
            await how(own)
            await one.lost.wait()
            assert not one.held
            assert "not held" in repr(one)
        assert await keys("api") == []


async def test_an_instance_that_died(
    client: aetcd.Client,
    connect: Connect,
    etcd: EtcdServer,
    proxy: Callable[[str], Awaitable[TCPProxy]],
    eventually: Eventually,
) -> None:
    """Is gone when its session has ended, for pickers too; it is told when it comes back."""
    middle = await proxy(etcd.url)
    service = await connect(middle.url)
    async with (
        service.registry("api", ttl=2).register("dead") as dead,
        client.registry("api").register("live"),
        client.registry("api").picker() as picker,
    ):
        assert {found.address for found in picker.instances} == {"dead", "live"}
        middle.refuse()
        middle.cut()
        await eventually(lambda: [found.address for found in picker.instances] == ["live"], 15)
        assert {picker.choose().address for _ in range(10)} == {"live"}
        async with asyncio.timeout(10):
            await dead.lost.wait()
        middle.resume()


async def test_several_share_a_session(client: aetcd.Client, keys: Keys) -> None:
    """Each entry ends with its block, all with the session."""
    async with client.session(ttl=30) as session:
        registry = client.registry("api", session=session)
        async with registry.register("a"):
            async with registry.register("b"):
                assert len(await keys("api")) == 2
            assert len(await keys("api")) == 1
        assert session.held
        left = registry.register("c")
        await left.open()
    assert await keys("api") == []
    assert not left.held
    with pytest.raises(aetcd.SessionLost):
        await registry.register("d").open()


@pytest.mark.parametrize("policy", ["round_robin", "random", "least_pending"])
async def test_picking(client: aetcd.Client, policy: Any) -> None:
    """Every instance has its turns; nobody is picked where nobody is registered."""
    registry = client.registry("api")
    async with registry.picker(policy) as picker, AsyncExitStack() as stack:
        assert picker.fresh
        assert picker.age < 3
        with pytest.raises(aetcd.CoordinationError, match="api"):
            picker.choose()
        for name in "abc":
            await stack.enter_async_context(registry.register(name))
        async with asyncio.timeout(10):
            while len(picker.instances) < 3:
                await asyncio.sleep(0.005)
        picked = Counter(picker.choose().address for _ in range(300))
        assert set(picked) == {"a", "b", "c"}
        if policy == "round_robin":
            assert set(picked.values()) == {100}
        if policy == "least_pending":
            with ExitStack() as busy:
                first, second = (busy.enter_context(picker.pick()).address for _ in range(2))
                (idle,) = {"a", "b", "c"} - {first, second}
                assert {picker.choose().address for _ in range(20)} == {idle}
            assert len({picker.choose().address for _ in range(100)}) == 3


@pytest.mark.parametrize("policy", ["round_robin", "random", "least_pending"])
async def test_picking_after_a_failure(client: aetcd.Client, policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is left out for a while, but for when all have failed."""
    registry = client.registry("api")
    async with registry.register("a"), registry.register("b"), registry.picker(policy) as picker:
        with monkeypatch.context() as short:
            short.setattr(_picker, "AVOIDED", 0.0)
            with pytest.raises(ConnectionError), picker.pick():
                raise ConnectionError
        assert {picker.choose().address for _ in range(30)} == {"a", "b"}  # the while is over
        with pytest.raises(ConnectionError), picker.pick() as failed:
            raise ConnectionError
        (other,) = {"a", "b"} - {failed.address}
        assert {picker.choose().address for _ in range(30)} == {other}
        with pytest.raises(ConnectionError), picker.pick():
            raise ConnectionError
        assert {picker.choose().address for _ in range(30)} == {"a", "b"}
        with pytest.raises(asyncio.CancelledError), picker.pick():
            raise asyncio.CancelledError  # the caller's affair, and no failure


async def test_the_peers_of_a_pool(client: aetcd.Client, etcd: EtcdServer, connect: Connect, prefix: str) -> None:
    """A client's peers are those that are registered, beside those it was made with."""
    registry = client.registry("etcds")
    async with asyncio.timeout(20), registry.register("http://127.0.0.1:1", id="dead") as dead:
        fed = await connect("http://127.0.0.1:9")

        async def shown(*urls: str) -> None:
            while {peer.url for peer in fed.status().peers} != {"http://127.0.0.1:9", *urls}:
                await asyncio.sleep(0.005)

        async with registry.feed(fed.use_peers):
            await shown("http://127.0.0.1:1")
            async with registry.register(etcd.url):
                await shown("http://127.0.0.1:1", etcd.url)
                await dead.aclose()
                await shown(etcd.url)
                assert await fed.get("key") is None
            # Nobody is registered any more: the last ones stay.
            assert await fed.get("key") is None
            async with registry.register("ftp://not-a-peer"), registry.register("http://127.0.0.1:2"):
                await asyncio.sleep(0)
        fed.use_peers([])
        await shown()


async def test_a_cancelled_registration_leaves_nothing(client: aetcd.Client, cancel_everywhere: Any) -> None:
    """Wherever it is cancelled."""

    async def register(held_back: aetcd.Client) -> None:
        async with held_back.registry("api").register("a"):
            await asyncio.Event().wait()

    async def register_with_session(held_back: aetcd.Client) -> None:
        async with held_back.session(ttl=30) as shared, held_back.registry("api", session=shared).register("a"):
            await asyncio.Event().wait()

    assert await cancel_everywhere(register, "api") >= 2
    assert await cancel_everywhere(register_with_session, "api") >= 2


async def test_bad_arguments_of_a_registry(client: aetcd.Client) -> None:
    """Are named, before anything is sent."""
    with pytest.raises(ValueError, match="prefix"):
        client.registry("")
    with pytest.raises(TypeError, match="session"):
        client.registry("api", session="s")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="type"):
        client.registry("api", type=object())
    registry = client.registry("api/")
    assert repr(registry) == "<Registry 'api'>"
    for settings, error, argument in (
        ({"address": ""}, ValueError, "address"),
        ({"address": 3}, TypeError, "address"),
        ({"address": "a", "id": "x/y"}, ValueError, "id"),
        ({"address": "a", "id": ""}, ValueError, "id"),
        ({"address": "a", "id": "_hidden"}, ValueError, "id"),
        ({"address": "a", "metadata": object()}, TypeError, "metadata"),
    ):
        with pytest.raises(error, match=argument):
            registry.register(**settings)
    with pytest.raises(ValueError, match="policy"):
        registry.picker("best")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="use"):
        async with registry.feed(None):  # type: ignore[arg-type]
            pass
