from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import aetcd
from aetcd.errors import CompareFailed, KeyNotFound, NotADirectory, NotAFile, Unsupported
from aetcd.etcd.v2._keyspace import V2KeySpace
from aetcd.etcd.v2._place import Place, Reading
from aetcd.testing import EtcdServer


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(etcd.url, protocol="v2") as client:
        yield client


@pytest.fixture
async def spaced(etcd: EtcdServer, prefix: str) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(etcd.url, protocol="v2", namespace=prefix) as client:
        yield client


# Keys as they are written


@pytest.mark.parametrize("lead", ["", "/"])
@pytest.mark.parametrize("namespace", ["", "space/", "/space/", "half", "/a/half-"])
async def test_keys_come_back_as_written(etcd: EtcdServer, prefix: str, lead: str, namespace: str) -> None:
    """With its leading slash or without, behind any namespace; those of children and of deletions too."""
    namespace = namespace and f"{namespace.removesuffix('space/')}{prefix.rstrip('/')}{namespace}"
    key = f"{lead}{prefix}dir"
    async with aetcd.Client(etcd.url, protocol="v2", namespace=namespace) as client:
        for call in (client.set(f"{key}/a", "1", full=True), client.get(f"{key}/a", full=True)):
            result = await call
            assert result is not None
            assert result.node.key == f"{key}/a"
        await client.set(f"{key}/b/c", "2")
        assert [node.key for node in await client.ls(key)] == [f"{key}/a", f"{key}/b"]
        tree = await client.tree(f"{key}/")
        assert tree.nodes is not None
        assert [node.key for node in tree.nodes[1].nodes or ()] == [f"{key}/b/c"]
        deleted = await client.delete(f"{key}/a", full=True)
        assert deleted.node.key == f"{key}/a"
        assert deleted.previous is not None
        assert deleted.previous.key == f"{key}/a"


async def test_as_dict_is_what_the_server_sends(client: aetcd.Client, prefix: str) -> None:
    """Field by field, those that it leaves out included: the children of an empty directory are such."""
    v2, root = client.v2, prefix.rstrip("/")
    await client.set(f"{root}/key", "1", ttl=105)
    await client.mkdir(f"{root}/empty")
    await client.set(f"{root}/sub/key", "")
    for facade, native in (
        (client.get(f"{root}/key", full=True), v2.get(f"{root}/key")),
        (client.ls(root, full=True), v2.get(root, sorted=True)),
        (client.ls(f"{root}/empty", full=True), v2.get(f"{root}/empty")),
        (client.tree(root, full=True), v2.get(root, sorted=True, recursive=True)),
    ):
        result, answer = await facade, await native
        assert result is not None
        assert to_the_second(result.as_dict()) == to_the_second(answer.as_dict())


def to_the_second(shown: Any) -> Any:
    """Python's times end at the microsecond, and a TTL may lose a second between two answers."""
    if isinstance(shown, list):
        return [to_the_second(each) for each in shown]
    if not isinstance(shown, dict):
        return shown
    cut = {name: to_the_second(each) for name, each in shown.items()}
    if "ttl" in cut:
        cut |= {"ttl": cut["ttl"] // 10, "expiration": cut["expiration"][:19]}
    return cut


@pytest.mark.parametrize("key", ["a//b", "a/./b", "../x", "a/..", "..", ".", "//a", "a//"])
async def test_segments_that_are_none(spaced: aetcd.Client, prefix: str, key: str) -> None:
    """They would be cleaned away on the server, and lead out of the namespace: nothing is sent."""
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: spaced.set(key, "x"),
        lambda: spaced.get(key),
        lambda: spaced.delete(key, recursive=True),
        lambda: spaced.ls(key),
        lambda: spaced.rmdir(key, recursive=True),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="key") as caught:
            await call()
        assert prefix.rstrip("/") not in str(caught.value)


async def test_a_namespace_is_not_left_through_its_root(
    spaced: aetcd.Client, client: aetcd.Client, prefix: str
) -> None:
    """The root may be read, also before anything is in it; writing it would write what is around it."""
    assert await spaced.ls("") == await spaced.ls("/") == []
    with pytest.raises(ValueError, match="root"):
        await spaced.set("/", "x")
    with pytest.raises(ValueError, match="root"):
        await spaced.delete("/", recursive=True)
    await client.set(f"{prefix}key", "1")
    assert [node.key for node in await spaced.ls("")] == ["key"]
    assert [node.key for node in await spaced.ls("/")] == ["/key"]
    with pytest.raises(NotAFile):
        await spaced.get("/")


async def test_a_namespace_within_a_segment(etcd: EtcdServer, client: aetcd.Client, prefix: str) -> None:
    """Its root shows what begins with it, and not what stands beside."""
    await client.set(f"{prefix}app-a", "1")
    await client.set(f"{prefix}other", "2")
    await client.set(f"{prefix}app-d/b", "3")
    async with aetcd.Client(etcd.url, protocol="v2", namespace=f"{prefix}app-") as inner:
        assert [node.key for node in await inner.ls("")] == ["a", "d"]
        async with inner.watch("", recursive=True) as changes:
            await client.set(f"{prefix}other", "4")
            await client.set(f"{prefix}app-a", "5")
            assert (await anext(changes)).key == "a"  # type: ignore[union-attr]


async def test_a_directory_by_its_trailing_slash(client: aetcd.Client, prefix: str) -> None:
    """It names a directory only: never a key with a value."""
    await client.set(f"{prefix}file", "x")
    await client.mkdir(f"{prefix}dir/")
    assert await client.exists(f"{prefix}dir/")
    assert not await client.exists(f"{prefix}file/")
    with pytest.raises(ValueError, match="directory"):
        await client.set(f"{prefix}new/", "x")
    with pytest.raises(NotADirectory):
        await client.delete(f"{prefix}file/", recursive=True)
    await client.delete(f"{prefix}dir/", recursive=True)
    assert await client.exists(f"{prefix}file")
    assert not await client.exists(f"{prefix}dir")


# Reading


async def test_under_a_key_with_a_value_there_is_nothing(client: aetcd.Client, prefix: str) -> None:
    """The server calls it no directory; to the caller the key is missing."""
    await client.set(f"{prefix}file", "x")
    below = f"{prefix}file/below"
    assert await client.get(below) is None
    assert not await client.exists(below)
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.update(below, "x"),
        lambda: client.delete(below),
        lambda: client.refresh(below, ttl=5),
        lambda: client.refresh(below, ttl=False),
        lambda: client.compare_and_swap(below, "x", previous_value="y"),
        lambda: client.compare_and_delete(below, previous_value=""),
        lambda: client.ls(below),
    ]
    for call in calls:
        with pytest.raises(KeyNotFound, match="below"):
            await call()


async def test_kinds(client: aetcd.Client, prefix: str) -> None:
    """A directory is no file and a file no directory, and no call takes the one for the other."""
    await client.set(f"{prefix}dir/file", "x")
    with pytest.raises(NotAFile):
        await client.get(f"{prefix}dir")
    with pytest.raises(NotAFile):
        await client.delete(f"{prefix}dir")
    with pytest.raises(NotAFile):
        await client.refresh(f"{prefix}dir", ttl=False)
    for call in (client.ls, client.tree, client.rmdir):
        with pytest.raises(NotADirectory):
            await call(f"{prefix}dir/file")
    assert await client.get(f"{prefix}dir/file") == "x"


# Writing


async def test_deleting_with_all_under_it(client: aetcd.Client, prefix: str) -> None:
    """A key with a value too."""
    await client.set(f"{prefix}file", "x")
    await client.delete(f"{prefix}file", recursive=True)
    assert await client.get(f"{prefix}file") is None


async def test_bytes_that_are_no_text(client: aetcd.Client, prefix: str) -> None:
    """They are refused, and nothing is written."""
    with pytest.raises(Unsupported):
        await client.set(f"{prefix}key", b"\xff")
    assert await client.get(f"{prefix}key") is None


async def test_comparing_with_the_empty_text(client: aetcd.Client, prefix: str) -> None:
    """It is a value like others, though no request of v2 can name it."""
    key = f"{prefix}key"
    await client.set(key, "")
    await client.compare_and_swap(key, "full", previous_value="")
    with pytest.raises(CompareFailed) as caught:
        await client.compare_and_swap(key, "again", previous_value="")
    assert caught.value.current.value == "full"
    with pytest.raises(CompareFailed):
        await client.compare_and_delete(key, previous_value="")
    await client.set(key, "")
    await client.compare_and_delete(key, previous_value="")
    assert await client.get(key) is None


async def test_comparing_with_the_empty_text_in_a_crowd(
    client: aetcd.Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index may be moved between its reading and the write, as by a renewal: the value is what counts."""
    key = f"{prefix}key"
    made = await client.set(key, "", ttl=60, full=True)
    read = V2KeySpace.read
    moved = 0

    async def read_and_move(space: V2KeySpace, place: Place, **settings: Any) -> Reading:
        nonlocal moved
        reading = await read(space, place, **settings)
        if moved < 3:
            moved += 1
            await client.v2.refresh(place.path, 50)
        return reading

    monkeypatch.setattr(V2KeySpace, "read", read_and_move)
    swapped = await client.compare_and_swap(key, "full", previous_value="", full=True)
    assert (moved, swapped.node.value) == (3, "full")
    assert swapped.node.created_revision == made.node.created_revision


async def test_one_of_many_swaps_the_empty_text(client: aetcd.Client, prefix: str) -> None:
    """However many would."""
    key = f"{prefix}key"
    await client.set(key, "")

    async def swap(n: int) -> bool:
        try:
            await client.compare_and_swap(key, str(n), previous_value="")
        except CompareFailed:
            return False
        return True

    swapped = await asyncio.gather(*(swap(n) for n in range(20)))
    assert [n for n, done in enumerate(swapped) if done] == [int(await client.get(key) or -1)]


async def test_refresh_keeps_the_key_and_its_watchers_asleep(client: aetcd.Client, prefix: str) -> None:
    """Value and creation index stay, and no change is seen."""
    key = f"{prefix}key"
    made = await client.set(key, "v", ttl=5, full=True)
    async with client.watch(key) as changes:
        refreshed = await client.refresh(key, ttl=50, full=True)
        assert refreshed.node.ttl in {49, 50}
        assert refreshed.node.created_revision == made.node.created_revision
        assert (await client.get(key), await client.ttl(key)) in {("v", 50), ("v", 49)}
        await client.set(key, "w")
        assert (await anext(changes)).value == "w"  # type: ignore[union-attr]


async def test_taking_an_expiry_away(client: aetcd.Client, prefix: str) -> None:
    """The value and the creation index stay; a key without one is left alone."""
    key = f"{prefix}key"
    made = await client.set(key, "v", ttl=5, full=True)
    freed = await client.refresh(key, ttl=False, full=True)
    assert (freed.node.value, freed.node.ttl, freed.node.expiration) == ("v", None, None)
    assert freed.node.created_revision == made.node.created_revision
    again = await client.refresh(key, ttl=False, full=True)
    assert again.node.modified_revision == freed.node.modified_revision


async def test_revision_is_the_stores(client: aetcd.Client, prefix: str) -> None:
    """Of a read too, and where other keys have changed since."""
    made = await client.set(f"{prefix}key", "v", full=True)
    other = await client.set(f"{prefix}other", "v", full=True)
    read = await client.get(f"{prefix}key", full=True)
    assert read is not None
    assert made.revision == read.node.modified_revision < other.revision == read.revision
