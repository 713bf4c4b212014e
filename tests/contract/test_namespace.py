"""A namespace: before every key on its way to the server, off it on its way back, and no way out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import aetcd

Connect = Callable[..., Awaitable[aetcd.Client]]


async def test_where_keys_are_on_the_server(client: aetcd.Client, plain: aetcd.Client, prefix: str) -> None:
    """They stand behind the namespace, for everybody who has none."""
    await client.set("app/key", "x")
    assert await plain.get(f"{prefix}app/key") == "x"
    await plain.set(f"{prefix}app/other", "y")
    assert await client.get("app/other") == "y"


async def test_it_is_off_on_the_way_back(client: aetcd.Client, prefix: str) -> None:
    """Nodes, changes, errors and queues name keys as the caller does."""
    name = prefix.rstrip("/")
    shown: list[object] = []
    async with asyncio.timeout(10), client.watch("", recursive=True) as changes:
        shown.append(await client.set("app/key", "1", full=True))
        shown.append(await client.set("app/key", "2", full=True))
        shown.append(await client.get("app/key", full=True))
        shown += [(await client.ls("app", full=True)), (await client.tree("", full=True)), await client.ls("")]
        for failing in (
            lambda: client.create("app/key", "x"),
            lambda: client.compare_and_swap("app/key", "x", previous_value="y"),
            lambda: client.compare_and_delete("app/key", previous_revision=1),
            lambda: client.delete("app/missing"),
            lambda: client.update("app/missing", "x"),
            lambda: client.refresh("app/missing", ttl=5),
            lambda: client.ls("app/missing"),
            lambda: client.tree("app/key"),
            lambda: client.rmdir("app"),
            lambda: client.get("app/key", type=list[str]),
        ):
            with pytest.raises(aetcd.AetcdError) as caught:
                await failing()
            shown += [str(caught.value), getattr(caught.value, "current", None), getattr(caught.value, "key", None)]
        shown.append(await client.delete("app/key", full=True))
        shown += [await anext(changes) for _ in range(3)]
        shown += [changes, client.status().watches]
    async with client.election("post") as leadership, client.lock("job") as lock:
        shown += [await client.election("post").leader(), leadership, lock]
    for thing in shown:
        assert name not in str(thing)
        assert name not in repr(thing)
        if isinstance(thing, aetcd.Result):
            assert name not in str(thing.as_dict())


async def test_nothing_outside_is_seen(client: aetcd.Client, plain: aetcd.Client, prefix: str) -> None:
    """The root is the namespace's own, also for names that only begin like it."""
    name = prefix.rstrip("/")
    await client.set("key", "x")
    async with asyncio.timeout(10), client.watch("", recursive=True) as changes:
        for outside in (f"{name}2/a", f"{name}-x/b", f"{name}.c"):
            await plain.set(outside, "y")
        await client.set("key", "z")
        change = await anext(changes)
    assert isinstance(change, aetcd.Change)
    assert change.key == "key"
    assert [node.key for node in await client.ls()] == ["key"]
    assert [node.key for node in (await client.tree()).nodes or ()] == ["key"]


async def test_no_way_out(client: aetcd.Client, plain: aetcd.Client, prefix: str, protocol: str) -> None:
    """`..`, a leading slash and the like stay within it, or are refused."""
    name = prefix.rstrip("/")
    await plain.set(f"{name}-outside", "safe")
    for key in (f"../{name}-outside", f"x/../../{name}-outside", f"./../{name}-outside", f"/../{name}-outside"):
        calls: list[Callable[[str], Awaitable[object]]] = [
            lambda key: client.set(key, "broken in"),
            client.get,
            client.ls,
            client.delete,
        ]
        for call in calls:
            if protocol == "v2":
                with pytest.raises(ValueError, match="key"):
                    await call(key)
            else:
                try:
                    assert await call(key) in (None, "broken in")
                except (aetcd.KeyNotFound, aetcd.NotADirectory):
                    continue
    for key in ("", "\0"):
        with pytest.raises(ValueError, match="key"):
            await client.delete(key, recursive=True)
        with pytest.raises(ValueError, match="key"):
            await client.rmdir(key, recursive=True)
    assert await plain.get(f"{name}-outside") == "safe"


async def test_namespaces_are_apart(connect: Connect, prefix: str) -> None:
    """The same key, lock and election in two namespaces are two."""
    one, two = await connect(namespace=f"{prefix}one/"), await connect(namespace=f"{prefix}two/")
    await one.set("key", "1")
    await two.set("key", "2")
    assert (await one.get("key"), await two.get("key")) == ("1", "2")
    async with asyncio.timeout(10), one.lock("job", timeout=0), two.lock("job", timeout=0):
        assert await one.exists("key")


async def test_namespace_in_another_script(connect: Connect, prefix: str) -> None:
    """It is text like a key."""
    client = await connect(namespace=f"{prefix}Ünïcode 日本%/")
    async with asyncio.timeout(10), client.watch("key") as changes:
        await client.set("key", "x")
        change = await anext(changes)
    assert isinstance(change, aetcd.Change)
    assert change.key == "key"
    assert [node.key for node in await client.ls()] == ["key"]
