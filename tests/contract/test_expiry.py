"""Keys that expire, and those that no longer do."""

from __future__ import annotations

import asyncio

import pytest

import aetcd
from aetcd.testing import EtcdServer


async def test_a_ttl_runs_out(client: aetcd.Client, protocol: str) -> None:
    """The key is gone, a watch shows it, and whatever removed or replaced the expiry of others kept them."""
    others = {
        "refreshed": lambda: client.refresh("refreshed", ttl=100),
        "freed": lambda: client.refresh("freed", ttl=False),
        "set": lambda: client.set("set", "x"),
        "updated": lambda: client.update("updated", "x"),
        "swapped": lambda: client.compare_and_swap("swapped", "x", previous_value="x"),
    }
    for key, call in others.items():
        await client.set(key, "x", ttl=1)
        await call()
    await client.create("created", "x", ttl=1)
    async with asyncio.timeout(10), client.watch("brief") as changes:
        await client.set("brief", "value", ttl=1)
        assert await client.get("brief") == "value"
        assert 1 <= (await client.ttl("brief") or 0) <= 2
        put, gone = await anext(changes), await anext(changes)
    assert isinstance(put, aetcd.Change)
    assert isinstance(gone, aetcd.Change)
    assert put.kind == "put"
    assert gone.kind == ("delete" if protocol == "v3" else "expire")
    assert (gone.key, gone.value) == ("brief", None)
    assert gone.previous is not None
    assert gone.previous.value == "value"
    assert gone.revision > put.revision
    assert await client.get("brief") is None
    with pytest.raises(aetcd.KeyNotFound):
        await client.ttl("brief")
    # Its TTL began before that of the one that was watched.
    assert await client.get("created") is None
    assert {key: await client.get(key) for key in others} == dict.fromkeys(others, "x")
    assert 90 < (await client.ttl("refreshed") or 0) <= 100
    assert [await client.ttl(key) for key in others if key != "refreshed"] == [None] * 4


@pytest.mark.parametrize("write", ["set", "create", "update", "compare_and_swap", "refresh"])
async def test_ttl_of_each_write(client: aetcd.Client, write: str) -> None:
    """Each of them can give a TTL; `ttl()` and the whole answer tell what is left of it."""
    if write != "create":
        await client.set("key", "x")
    calls = {
        "set": lambda: client.set("key", "x", ttl=100, full=True),
        "create": lambda: client.create("key", "x", ttl=100, full=True),
        "update": lambda: client.update("key", "x", ttl=100, full=True),
        "compare_and_swap": lambda: client.compare_and_swap("key", "x", previous_value="x", ttl=100, full=True),
        "refresh": lambda: client.refresh("key", ttl=100, full=True),
    }
    result = await calls[write]()
    found = await client.get("key", full=True)
    assert found is not None
    for left in (result.node.ttl, found.node.ttl, await client.ttl("key")):
        assert 95 < (left or 0) <= 100
    assert result.as_dict()["node"]["ttl"] == result.node.ttl


async def test_refresh_keeps_the_key(client: aetcd.Client, protocol: str) -> None:
    """Value and creation stay; on v3 it is a write that watches see, on v2 no watch sees it."""
    await client.set("key", "value", ttl=50)
    before = await client.get("key", full=True)
    async with asyncio.timeout(10), client.watch("", recursive=True) as changes:
        await client.refresh("key", ttl=100)
        await client.refresh("key", ttl=False)
        await client.set("end", "")
        seen: list[tuple[str, object]] = []
        while not seen or seen[-1][0] != "end":
            change = await anext(changes)
            assert isinstance(change, aetcd.Change)
            seen.append((change.key, change.value))
    after = await client.get("key", full=True)
    assert before is not None
    assert after is not None
    assert (after.node.value, after.node.ttl) == ("value", None)
    assert after.node.created_revision == before.node.created_revision
    if protocol == "v3":
        assert seen == [("key", "value"), ("key", "value"), ("end", "")]
    else:
        assert seen in ([("end", "")], [("key", "value"), ("end", "")])


async def test_ttl_of_a_directory(client: aetcd.Client, protocol: str) -> None:
    """On v2 a directory can have one."""
    if protocol == "v3":
        with pytest.raises(aetcd.Unsupported):
            await client.mkdir("dir", ttl=50)
        return
    await client.mkdir("dir", ttl=50)
    assert 45 < (await client.ttl("dir") or 0) <= 50


async def test_a_failed_write_leaves_no_lease(client: aetcd.Client, etcd: EtcdServer, protocol: str) -> None:
    """The lease that was granted for a TTL is revoked where the write is refused (v3)."""
    await client.set("key", "x")

    async def leases() -> set[int]:
        async with aetcd.Client(etcd.url) as other:
            return set(await other.v3.lease.list())

    before = await leases()
    with pytest.raises(aetcd.KeyExists):
        await client.create("key", "y", ttl=100)
    with pytest.raises(aetcd.KeyNotFound):
        await client.update("missing", "y", ttl=100)
    with pytest.raises(aetcd.CompareFailed):
        await client.compare_and_swap("key", "y", previous_value="z", ttl=100)
    with pytest.raises(aetcd.KeyNotFound):
        await client.refresh("missing", ttl=100)
    if protocol == "v3":
        with pytest.raises(aetcd.RequestTooLarge):
            await client.set("key", "x" * 1_700_000, ttl=100)
    assert await leases() - before == set()
    await client.set("key", "y", ttl=100)
    assert len(await leases() - before) == (1 if protocol == "v3" else 0)


async def test_a_ttl_does_not_renew_a_shared_lease(client: aetcd.Client, protocol: str) -> None:
    """A key's new TTL is its own: others of the lease that it leaves keep theirs (v3)."""
    if protocol == "v2":
        await client.set("one", "x", ttl=50)
        await client.set("two", "x", ttl=50)
    else:
        lease = await client.v3.lease.grant(50)
        namespace = (await _namespace(client)).encode()
        for key in (b"one", b"two"):
            await client.v3.put(namespace + key, b"x", lease=lease.id)
    await client.refresh("one", ttl=500)
    assert 450 < (await client.ttl("one") or 0) <= 500
    assert 0 < (await client.ttl("two") or 0) <= 50


async def _namespace(client: aetcd.Client) -> str:
    """Found by what the server calls a key of the client's."""
    await client.set("a-mark", "x")
    written = await client.get("a-mark", full=True)
    assert written is not None
    answer = await client.v3.range(b"\0", from_key=True, min_mod_revision=written.node.modified_revision)
    return next(kv.key for kv in answer.kvs if kv.mod_revision == written.node.modified_revision).decode()[:-6]
