"""Keys of the facade, on both protocols."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import aetcd
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]

ODD_KEYS = [
    "with space",
    "per%cent",
    "%2F",
    "a+b",
    "what?",
    "x?recursive=true",
    "hash#tag",
    "and&equals=1;2",
    "colon:at@",
    "[brackets]{braces}",
    "quote\"s'and`",
    "back\\slash",
    "tab\tand\nline",
    "ümläut",
    "日本/東京",
    "🦀",
    "a.b..c",
    "...",
    "deep/er/and/deeper",
    "-dash_und~tilde",
]


async def test_set_then_get(client: aetcd.Client) -> None:
    """What was written last is read; `set` itself answers nothing."""
    assert await client.set("message", "Hello World") is None
    assert await client.get("message") == "Hello World"
    await client.set("message", "bye")
    assert await client.get("message") == "bye"


async def test_missing_key(client: aetcd.Client) -> None:
    """Reading what is not there is None, in whatever way it is read."""
    assert await client.get("missing") is None
    assert await client.get("missing", type=int) is None
    assert await client.get("missing", full=True) is None
    assert await client.exists("missing") is False
    assert await client.exists("missing", full=True) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.update("missing", "x"),
        lambda client: client.compare_and_swap("missing", "x", previous_value="y"),
        lambda client: client.compare_and_swap("missing", "x", previous_value=""),
        lambda client: client.compare_and_swap("missing", "x", previous_revision=1),
        lambda client: client.compare_and_delete("missing", previous_value="y"),
        lambda client: client.compare_and_delete("missing", previous_value=""),
        lambda client: client.compare_and_delete("missing", previous_revision=1),
        lambda client: client.delete("missing"),
        lambda client: client.delete("missing", recursive=True),
        lambda client: client.refresh("missing", ttl=30),
        lambda client: client.refresh("missing", ttl=False),
        lambda client: client.ttl("missing"),
        lambda client: client.ls("missing"),
        lambda client: client.tree("missing"),
        lambda client: client.rmdir("missing"),
        lambda client: client.rmdir("missing", recursive=True),
    ],
    ids=lambda call: call.__code__.co_names[0],
)
async def test_what_needs_a_key(client: aetcd.Client, call: Callable[[aetcd.Client], Awaitable[Any]]) -> None:
    """A call that needs the key raises KeyNotFound, and makes no key."""
    with pytest.raises(aetcd.KeyNotFound, match="missing"):
        await call(client)
    assert await client.exists("missing") is False


async def test_exists(client: aetcd.Client) -> None:
    """A key exists from its creation to its deletion, whatever it holds."""
    await client.set("empty", "")
    assert await client.exists("empty") is True
    await client.delete("empty")
    assert await client.exists("empty") is False


async def test_create(client: aetcd.Client) -> None:
    """It writes a key that is not there, and leaves one that is."""
    await client.create("once", "first")
    with pytest.raises(aetcd.KeyExists):
        await client.create("once", "second")
    assert await client.get("once") == "first"


async def test_update(client: aetcd.Client) -> None:
    """It writes a key that is there."""
    await client.set("there", "1")
    await client.update("there", "2")
    assert await client.get("there") == "2"


async def test_swap_by_value(client: aetcd.Client, protocol: str) -> None:
    """It writes if the value is as expected, and else says what stands there where the server told."""
    await client.set("key", "one")
    await client.compare_and_swap("key", "two", previous_value="one")
    assert await client.get("key") == "two"
    with pytest.raises(aetcd.CompareFailed) as caught:
        await client.compare_and_swap("key", "three", previous_value="one")
    assert await client.get("key") == "two"
    told = caught.value.current
    if protocol == "v3":
        assert (told.key, told.value) == ("key", "two")
    else:
        assert told is None  # v2 tells the value only within a text that cannot be taken apart for certain


async def test_swap_by_revision(client: aetcd.Client) -> None:
    """It writes if the last write is the one expected."""
    written = await client.set("key", "one", full=True)
    swapped = await client.compare_and_swap("key", "two", previous_revision=written.node.modified_revision, full=True)
    assert swapped.node.modified_revision > written.node.modified_revision
    with pytest.raises(aetcd.CompareFailed):
        await client.compare_and_swap("key", "three", previous_revision=written.node.modified_revision)
    assert await client.get("key") == "two"


async def test_compare_with_the_empty_value(client: aetcd.Client) -> None:
    """The empty text is a value that can be expected, on v2 too, whose own words cannot say so."""
    await client.set("key", "")
    await client.compare_and_swap("key", "full", previous_value="")
    with pytest.raises(aetcd.CompareFailed):
        await client.compare_and_swap("key", "again", previous_value="")
    with pytest.raises(aetcd.CompareFailed):
        await client.compare_and_delete("key", previous_value="")
    assert await client.get("key") == "full"
    await client.compare_and_swap("key", "", previous_value="full")
    await client.compare_and_delete("key", previous_value=b"")
    assert await client.exists("key") is False


async def test_compare_and_delete(client: aetcd.Client) -> None:
    """It deletes if value or revision are as expected."""
    await client.set("by-value", "x")
    with pytest.raises(aetcd.CompareFailed):
        await client.compare_and_delete("by-value", previous_value="y")
    await client.compare_and_delete("by-value", previous_value="x")
    assert await client.get("by-value") is None

    first = await client.set("by-revision", "x", full=True)
    second = await client.set("by-revision", "x", full=True)
    with pytest.raises(aetcd.CompareFailed):
        await client.compare_and_delete("by-revision", previous_revision=first.node.modified_revision)
    await client.compare_and_delete("by-revision", previous_revision=second.node.modified_revision)
    assert await client.get("by-revision") is None


async def test_swaps_lose_no_increment(client: aetcd.Client) -> None:
    """Of writers that swap at once one wins, and the others are told."""
    await client.set("counter", 0)

    async def increment() -> None:
        while True:
            found = await client.get("counter", type=int, full=True)
            assert found is not None
            try:
                return await client.compare_and_swap(
                    "counter", found.node.value + 1, previous_revision=found.node.modified_revision
                )
            except aetcd.CompareFailed:
                continue

    await asyncio.gather(*(increment() for _ in range(10)))
    assert await client.get("counter", type=int) == 10


async def test_delete_keeps_to_its_key(client: aetcd.Client) -> None:
    """Without `recursive` only the key itself goes."""
    for key in ("key", "key-x", "key2"):
        await client.set(key, key)
    await client.delete("key")
    assert await client.get("key") is None
    assert [await client.get(key) for key in ("key-x", "key2")] == ["key-x", "key2"]


async def test_delete_recursive_keeps_to_its_directory(client: aetcd.Client) -> None:
    """`key` and all under `key/` go, and never `key2`, `key-x` or `key.`."""
    inside, outside = ["key/a", "key/b/c", "key/b/d"], ["key2", "key-x", "key.", "ke", "key0/a"]
    for name in inside + outside:
        await client.set(name, name)
    await client.delete("key", recursive=True)
    assert [name for name in inside if await client.exists(name)] == []
    assert [name for name in outside if not await client.exists(name)] == []
    with pytest.raises(aetcd.KeyNotFound):
        await client.delete("key", recursive=True)


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_come_back_as_written(plain: aetcd.Client, prefix: str, key: str) -> None:
    """A key is text, and nothing in it has a meaning of its own but the slash."""
    name = prefix + key
    async with plain.watch(name) as changes:
        result = await plain.set(name, key, full=True)
        change = await anext(changes)
    assert result.node.key == name
    assert (change.key, change.value) == (name, key)
    assert await plain.get(name) == key
    directory = name.rpartition("/")[0]
    assert [(node.key, node.value) for node in await plain.ls(directory)] == [(name, key)]
    await plain.compare_and_swap(name, "other", previous_value=key)
    await plain.delete(name)
    assert await plain.exists(name) is False


async def test_a_leading_slash(plain: aetcd.Client, prefix: str, protocol: str) -> None:
    """On v3 it is part of the key; on v2 every key has one. Either way the key comes back as it was written."""
    await plain.set(prefix + "key", "without")
    written = await plain.set(f"/{prefix}key", "with", full=True)
    assert written.node.key == f"/{prefix}key"
    assert written.as_dict()["node"]["key"] == f"/{prefix}key"
    read = await plain.get(prefix + "key", full=True)
    assert read is not None
    assert read.node.key == prefix + "key"
    assert read.as_dict()["node"]["key"] == f"/{prefix}key"
    assert read.node.value == ("without" if protocol == "v3" else "with")
    assert [node.key for node in await plain.ls(f"/{prefix}")] == [f"/{prefix}key"]
    assert [node.key for node in await plain.ls(prefix)] == [f"{prefix}key"]


async def test_dots_and_empty_segments(client: aetcd.Client, protocol: str) -> None:
    """On v3 they are text like any other; on v2 they would reach another key, and are refused."""
    for key in ("a/../b", "a/./b", "a//b", "..", "../up", "a/.."):
        if protocol == "v3":
            await client.set(key, key)
            assert await client.get(key) == key
        else:
            with pytest.raises(ValueError, match="key"):
                await client.set(key, key)


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("by_call", [True, False], ids=["of the call", "of the client"])
async def test_consistency_reaches_the_wire(
    connect: Connect,
    prefix: str,
    protocol: str,
    consistent: bool,
    by_call: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`consistent=` says on every read whether the cluster or the peer alone is asked; the call's own wins."""
    client = await connect(namespace=prefix, debug=True, consistent=consistent if not by_call else not consistent)
    await client.set("dir/key", "x")
    asked = {"consistent": consistent} if by_call else {}
    for read, key in (
        (client.get, "dir/key"),
        (client.exists, "dir/key"),
        (client.ttl, "dir/key"),
        (client.ls, "dir"),
        (client.tree, "dir"),
    ):
        with caplog.at_level(logging.DEBUG, logger="aetcd.http"):
            caplog.clear()
            await read(key, **asked)
        lines = [line for line in caplog.messages if line.startswith("curl")]
        assert len(lines) == 1
        if protocol == "v3":
            assert ('"serializable":true' in lines[0].replace(" ", "")) is not consistent
        else:
            assert ("quorum=true" in lines[0]) is consistent


async def test_timeout_of_one_call(connect: Connect, prefix: str, etcd: EtcdServer) -> None:
    """`timeout=` limits the one call: a read fails with RequestTimeout, a write that was sent with OutcomeUnknown."""
    async with TCPProxy(etcd.url) as proxy:
        client = await connect(proxy.url, namespace=prefix)
        await client.set("key", "x")
        proxy.stall()
        # Long enough for a connection to be made on a busy machine too: without one, nothing would have been sent.
        calls: list[tuple[Callable[[], Awaitable[object]], type[Exception]]] = [
            (lambda: client.get("key", timeout=1), aetcd.RequestTimeout),
            (lambda: client.ls("", timeout=aetcd.Timeout(1)), aetcd.RequestTimeout),
            (lambda: client.set("open", "y", timeout=1), aetcd.OutcomeUnknown),
            (lambda: client.delete("open", timeout=1), aetcd.OutcomeUnknown),
        ]
        for call, error in calls:
            started = asyncio.get_running_loop().time()
            with pytest.raises(error):
                await call()
            assert 0.9 < asyncio.get_running_loop().time() - started < 2.8
        proxy.resume()
        await client.set("key", "z")
        assert await client.get("key") == "z"


async def test_timeout_of_the_client(connect: Connect, prefix: str, etcd: EtcdServer) -> None:
    """The client's own is for every call without one."""
    async with TCPProxy(etcd.url) as proxy:
        client = await connect(proxy.url, namespace=prefix, timeout=0.2)
        await client.set("key", "x", timeout=5)
        proxy.stall()
        with pytest.raises(TimeoutError):
            await client.get("key")


async def test_too_large_a_value(client: aetcd.Client, protocol: str) -> None:
    """What the server finds too large is told so, and nothing is stored. v2 has no limit of its own."""
    await client.set("key", "small")
    for value in ("x" * 1_700_000, b"y" * 3_000_000):
        if protocol == "v3":
            with pytest.raises(aetcd.RequestTooLarge):
                await client.set("key", value)
            assert await client.get("key") == "small"
        else:
            await client.set("key", value)
            assert await client.get("key", type=bytes) == (value.encode() if isinstance(value, str) else value)
