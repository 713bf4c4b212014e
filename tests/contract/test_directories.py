"""Directories: real ones on v2, prefixes that end in a slash on v3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

import aetcd

Connect = Callable[..., Awaitable[aetcd.Client]]


async def fill(client: aetcd.Client, *keys: str) -> None:
    for key in keys:
        await client.set(key, key.upper())


def keys_of(node: aetcd.Node) -> list[str]:
    """All keys with values in a tree, in order."""
    if not node.is_directory:
        return [node.key]
    return [key for child in node.nodes or () for key in keys_of(child)]


async def test_ls(client: aetcd.Client) -> None:
    """Keys and directories right under a key, in order, and nothing of its neighbours."""
    await fill(client, "app/b", "app/a", "app/dir/x", "app/dir/y", "app2", "app-x", "app.d/z", "ap")
    children = await client.ls("app")
    assert [(node.key, node.is_directory, node.value) for node in children] == [
        ("app/a", False, "APP/A"),
        ("app/b", False, "APP/B"),
        ("app/dir", True, None),
    ]


async def test_ls_of_the_root(client: aetcd.Client) -> None:
    """The empty key is the root, which is there also when it is empty."""
    assert await client.ls() == []
    assert await client.ls("") == []
    assert (await client.tree()).nodes == ()
    await fill(client, "b/c", "a")
    assert [node.key for node in await client.ls()] == ["a", "b"]


async def test_tree(client: aetcd.Client) -> None:
    """A directory with all that is under it, each node with its key as it is written."""
    await fill(client, "app/b", "app/a/1", "app/a/2", "app/a/deep/er/1", "app2/x", "app-x")
    tree = await client.tree("app")
    assert (tree.key, tree.is_directory) == ("app", True)
    assert keys_of(tree) == ["app/a/1", "app/a/2", "app/a/deep/er/1", "app/b"]
    directory, key = tree.nodes or ()
    assert (directory.key, directory.is_directory, key.key, key.value) == ("app/a", True, "app/b", "APP/B")


async def test_slash_at_the_end(client: aetcd.Client) -> None:
    """A directory may be written with its slash or without: the same is in it."""
    await fill(client, "app/a", "app/dir/b", "app2")
    for name in ("app", "app/"):
        assert [node.key for node in await client.ls(name)] == ["app/a", "app/dir"]
        assert keys_of(await client.tree(name)) == ["app/a", "app/dir/b"]


async def test_walk_with_ls(plain: aetcd.Client, prefix: str, protocol: str) -> None:
    """Whoever lists each directory that was listed comes to every key, also below segments without a name (v3)."""
    written = {f"{prefix}a/b", f"{prefix}c"}
    written |= {f"{prefix}a//b", f"{prefix}//x", f"{prefix}/y"} if protocol == "v3" else set()
    await fill(plain, *written)
    found: set[str] = set()
    todo = [prefix]
    for _ in range(20):
        if not todo:
            break
        for node in await plain.ls(todo.pop()):
            if node.is_directory:
                todo.append(node.key)
            else:
                found.add(node.key)
    assert todo == []
    assert found == written
    assert set(keys_of(await plain.tree(prefix))) == written


async def test_values_of_a_listing(client: aetcd.Client) -> None:
    """`type=` holds for every value in it; one that does not decode is told when it is read."""
    await client.set("n/1", 1)
    await client.set("n/2", 2)
    await client.set("n/3", "three")
    one, two, three = await client.ls("n", type=int)
    assert (one.value, two.value) == (1, 2)
    with pytest.raises(aetcd.DecodeError, match="n/3"):
        three.value
    assert three.raw == b"three"
    assert [node.value for node in (await client.tree("n", type=bytes)).nodes or ()] == [b"1", b"2", b"three"]


async def test_a_key_is_no_directory(client: aetcd.Client) -> None:
    """Listing a key with a value says so."""
    await client.set("file", "x")
    for call in (client.ls, client.tree, client.rmdir):
        with pytest.raises(aetcd.NotADirectory, match="file"):
            await call("file")
    with pytest.raises(aetcd.NotADirectory, match="file"):
        await client.rmdir("file", recursive=True)
    assert await client.get("file") == "x"


async def test_a_directory_is_no_key(client: aetcd.Client, protocol: str) -> None:
    """On v3 a name may be both; on v2 a directory has no value, and takes none."""
    await client.set("both/inside", "x")
    if protocol == "v3":
        assert await client.get("both") is None
        assert await client.exists("both") is False
        await client.set("both", "value")
        assert await client.get("both") == "value"
        assert [node.key for node in await client.ls("both")] == ["both/inside"]
        await client.delete("both")
    else:
        assert await client.exists("both") is True
        with pytest.raises(aetcd.NotAFile, match="both"):
            await client.get("both")
        with pytest.raises(aetcd.NotAFile, match="both"):
            await client.set("both", "value")
        with pytest.raises(aetcd.NotAFile, match="both"):
            await client.delete("both")
    assert await client.get("both/inside") == "x"


async def test_mkdir(client: aetcd.Client, protocol: str) -> None:
    """On v2 it makes a directory; v3 has none to make, and says so instead of pretending."""
    if protocol == "v3":
        with pytest.raises(aetcd.Unsupported, match="mkdir"):
            await client.mkdir("dir")
        assert await client.ls() == []
        return
    assert await client.mkdir("dir") is None
    assert await client.ls("dir") == []
    assert await client.ttl("dir") is None
    with pytest.raises(aetcd.KeyExists, match="dir"):
        await client.mkdir("dir")
    await client.mkdir("brief", ttl=30)
    assert 25 < (await client.ttl("brief") or 0) <= 30


async def test_rmdir(client: aetcd.Client, protocol: str) -> None:
    """With keys in it it takes `recursive=True`, and never more than the directory."""
    await fill(client, "app/a", "app/dir/b", "app2", "app-x/c")
    with pytest.raises(aetcd.DirectoryNotEmpty, match="app"):
        await client.rmdir("app")
    assert keys_of(await client.tree("app")) == ["app/a", "app/dir/b"]
    assert await client.rmdir("app", recursive=True) is None
    with pytest.raises(aetcd.KeyNotFound):
        await client.ls("app")
    assert await client.exists("app2")
    assert await client.exists("app-x/c")
    if protocol == "v2":
        await client.mkdir("empty")
        await client.rmdir("empty")
        assert await client.exists("empty") is False


async def test_rmdir_keeps_the_key_of_its_name(client: aetcd.Client, protocol: str) -> None:
    """On v3 a key beside its directory stays; on v2 there is no such key."""
    if protocol == "v3":
        await fill(client, "app", "app/a")
        await client.rmdir("app", recursive=True)
        assert await client.get("app") == "APP"
    else:
        await fill(client, "app/a")
        await client.rmdir("app", recursive=True)
        assert await client.exists("app") is False


async def test_a_directory_of_many(client: aetcd.Client) -> None:
    """A listing is whole, however long."""
    names = [f"many/{n:04}" for n in range(300)]
    for name in names:
        await client.set(name, "")
    assert [node.key for node in await client.ls("many")] == names
