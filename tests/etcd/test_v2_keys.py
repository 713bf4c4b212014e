from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from v2_servers import connected

from aetcd._wire.message import Request, Response
from aetcd.errors import (
    CompareFailed,
    DirectoryNotEmpty,
    HistoryLost,
    KeyExists,
    KeyNotFound,
    NotADirectory,
    NotAFile,
    RequestTimeout,
    RootReadOnly,
)
from aetcd.etcd.v2 import V2, KeysResponse
from aetcd.testing import EtcdServer


@pytest.fixture
async def v2(etcd: EtcdServer) -> AsyncIterator[V2]:
    async with connected(etcd.url) as client:
        yield client


@pytest.fixture
def root() -> str:
    return f"/t{uuid.uuid4().hex}"


# Writing and reading


async def test_set_and_get(v2: V2, root: str) -> None:
    """A value comes back, with the whole answer around it."""
    made = await v2.set(f"{root}/k", "v")
    read = await v2.get(f"{root}/k")
    node = read.the_node
    assert (made.action, made.prev_node, read.action) == ("set", None, "get")
    assert (node.key, node.value, node.dir, node.ttl, node.expiration) == (f"{root}/k", "v", False, None, None)
    assert node.created_index == node.modified_index == made.the_node.created_index == made.index


async def test_headers(v2: V2, root: str) -> None:
    """The four headers of v2 are those that the server sent."""
    first = await v2.set(f"{root}/k", "1")
    second = await v2.set(f"{root}/k", "2")
    assert second.index == first.index + 1 == second.the_node.modified_index
    assert second.raft_index > first.raft_index > 0
    assert second.raft_term == first.raft_term > 0
    assert int(second.cluster_id, 16) > 0
    assert second.cluster_id == first.cluster_id


async def test_set_replaces_and_makes_anew(v2: V2, root: str) -> None:
    """A bare set shows what was there, and has a creation index of its own."""
    await v2.set(f"{root}/k", "1", ttl=100)
    again = await v2.set(f"{root}/k", "2")
    assert again.prev_node is not None
    assert (again.prev_node.value, again.prev_node.ttl) == ("1", 100)
    assert again.the_node.created_index == again.the_node.modified_index
    assert again.the_node.ttl is None


@pytest.mark.parametrize(
    "value",
    ["", " ", "a\nb\r\nc\n", "é漢🙂\u2028\x7f", "a=1&b=2;c%20+%", '{"a": "b"}', "\0\t\x01", "<&>"],
    ids=["empty", "space", "lines", "unicode", "form", "json", "control", "html"],
)
async def test_values_come_back_as_written(v2: V2, root: str, value: str) -> None:
    """Also as the value that a swap or a delete compares with."""
    key = f"{root}/k"
    assert (await v2.set(key, value)).the_node.value == value
    assert (await v2.get(key)).the_node.value == value
    if value:
        assert (await v2.compare_and_swap(key, value, previous_value=value)).the_node.value == value
        deleted = await v2.compare_and_delete(key, previous_value=value)
        assert deleted.prev_node is not None
        assert deleted.prev_node.value == value


async def test_large_value(v2: V2, root: str) -> None:
    """A value of 2 MB, most of it to be escaped, and given as bytes."""
    value = "%&+;é\n" * 300_000
    answer = await v2.set(root, value.encode(), no_value_on_success=True)
    assert answer.node is None
    assert (await v2.get(root)).the_node.value == value
    await v2.delete(root)


@pytest.mark.parametrize(
    "name",
    ["a b", "c%", "%2F", "q?x=1", "h#x", "é漢", "a;b,c:d@e=f&g$h!i*(j)'~", "a+b", "...", "a\nb", 'a"b\\c', "\x7f\x01"],
)
async def test_keys_come_back_as_written(v2: V2, root: str, name: str) -> None:
    """Whatever is in a segment, it names one child of its directory, and no other."""
    key = f"{root}/{name}/k"
    await v2.set(key, "v")
    assert (await v2.get(key)).the_node.key == key
    listed = (await v2.get(root, recursive=True)).the_node
    assert [node.key for node in listed.nodes] == [f"{root}/{name}"]
    assert [node.key for node in listed.nodes[0].nodes] == [key]
    await v2.delete(key)
    with pytest.raises(KeyNotFound):
        await v2.get(key)


async def test_slashes_at_the_ends(v2: V2, root: str) -> None:
    """With and without them it is the same node."""
    await v2.set(root.removeprefix("/"), "v")
    assert (await v2.get(f"{root}/")).the_node.value == "v"


async def test_get_of_the_root(v2: V2, root: str) -> None:
    """The root is a directory that has neither name nor index."""
    await v2.set(root, "v")
    read = (await v2.get("")).the_node
    assert (read.key, read.dir, read.created_index) == ("/", True, 0)
    assert root in [node.key for node in read.nodes]


async def test_get_sorted_and_recursive(v2: V2, root: str) -> None:
    """Children in order of their names, and their own with `recursive` only."""
    for name in ("b/y", "b/x", "a", "c"):
        await v2.set(f"{root}/{name}", name)
    flat = (await v2.get(root, sorted=True)).the_node
    assert [node.key for node in flat.nodes] == [f"{root}/a", f"{root}/b", f"{root}/c"]
    assert flat.nodes[1].nodes == ()
    whole = (await v2.get(root, sorted=True, recursive=True, quorum=True)).the_node
    assert [node.key for node in whole.nodes[1].nodes] == [f"{root}/b/x", f"{root}/b/y"]


async def test_hidden_keys(v2: V2, root: str) -> None:
    """A name with an underscore is not listed, and is read by name."""
    await v2.set(f"{root}/_secret/k", "v")
    await v2.set(f"{root}/seen", "v")
    listed = (await v2.get(root, recursive=True)).the_node
    assert [node.key for node in listed.nodes] == [f"{root}/seen"]
    assert (await v2.get(f"{root}/_secret/k")).the_node.value == "v"


async def test_no_value_on_success(v2: V2, root: str) -> None:
    """Every kind of write says what it did and sends nothing back; a read shows that it did it."""
    await v2.mkdir(root)
    answers = [
        await v2.set(f"{root}/k", "1", no_value_on_success=True),
        await v2.update(f"{root}/k", "2", no_value_on_success=True),
        await v2.compare_and_swap(f"{root}/k", "3", previous_value="2", no_value_on_success=True),
        await v2.create(f"{root}/new", "1", no_value_on_success=True),
        await v2.create_in_order(root, "1", no_value_on_success=True),
    ]
    assert [answer.action for answer in answers] == ["set", "update", "compareAndSwap", "create", "create"]
    assert [answer.node for answer in answers] == [None] * 5
    assert all(answer.index for answer in answers)
    assert (await v2.get(f"{root}/k")).the_node.value == "3"
    assert len((await v2.get(root)).the_node.nodes) == 3


async def test_create(v2: V2, root: str) -> None:
    """Once, and not again."""
    assert (await v2.create(root, "1")).action == "create"
    with pytest.raises(KeyExists):
        await v2.create(root, "2")
    assert (await v2.get(root)).the_node.value == "1"


async def test_update(v2: V2, root: str) -> None:
    """Only what is there, and its creation index stays."""
    with pytest.raises(KeyNotFound):
        await v2.update(root, "1")
    made = await v2.set(root, "1", ttl=100)
    updated = await v2.update(root, "2")
    assert (updated.action, updated.the_node.value, updated.the_node.ttl) == ("update", "2", None)
    assert updated.the_node.created_index == made.the_node.created_index
    assert (await v2.update(root, "2", ttl=50)).the_node.ttl == 50


async def test_create_in_order(v2: V2, root: str) -> None:
    """Names of 20 digits that sort by age, with a value or as directories, in a directory that need not be there."""
    first = (await v2.create_in_order(root, "1")).the_node
    second = (await v2.create_in_order(root, "2", ttl=100)).the_node
    third = (await v2.create_in_order(root, dir=True)).the_node
    assert first.key == f"{root}/{first.created_index:020d}"
    assert (second.value, second.ttl, third.dir) == ("2", 100, True)
    listed = (await v2.get(root, sorted=True)).the_node
    assert [node.key for node in listed.nodes] == [first.key, second.key, third.key]


async def test_delete(v2: V2, root: str) -> None:
    """What was there is shown; what is not there raises."""
    await v2.set(root, "v")
    gone = await v2.delete(root)
    assert gone.prev_node is not None
    assert (gone.action, gone.prev_node.value, gone.the_node.value) == ("delete", "v", None)
    with pytest.raises(KeyNotFound):
        await v2.delete(root)


# Comparing


@pytest.mark.parametrize("by_value", [False, True])
@pytest.mark.parametrize("by_index", [False, True])
@pytest.mark.parametrize("exist", [None, True])
async def test_set_by_every_legal_comparison(
    v2: V2, root: str, by_value: bool, by_index: bool, exist: bool | None
) -> None:
    """Each sets what is as expected; each that compares leaves alone what is not, and says so."""
    made = (await v2.set(root, "old")).the_node
    good: dict[str, Any] = {"previous_exist": exist}
    if by_value:
        good["previous_value"] = "old"
    if by_index:
        good["previous_index"] = made.modified_index
    swapped = await v2.set(root, "new", **good)
    compares = by_value or by_index
    assert swapped.action == ("compareAndSwap" if compares else "update" if exist else "set")
    assert (swapped.the_node.value, swapped.prev_node and swapped.prev_node.value) == ("new", "old")
    assert (swapped.the_node.created_index == made.created_index) == (compares or exist is True)
    if compares:
        with pytest.raises(CompareFailed):
            await v2.set(root, "never", **good)
        assert (await v2.get(root)).the_node.value == "new"
    if compares or exist:
        with pytest.raises(KeyNotFound):
            await v2.set(f"{root}-not", "never", **good)


async def test_both_comparisons_must_hold(v2: V2, root: str) -> None:
    """A right value with a wrong index fails, and the other way round, for swap and delete."""
    index = (await v2.set(root, "old")).the_node.modified_index
    for previous_value, previous_index in (("old", index + 1), ("other", index), ("other", index + 1)):
        expected: dict[str, Any] = {"previous_value": previous_value, "previous_index": previous_index}
        with pytest.raises(CompareFailed):
            await v2.compare_and_swap(root, "never", **expected)
        with pytest.raises(CompareFailed):
            await v2.compare_and_delete(root, **expected)
    assert (await v2.get(root)).the_node.modified_index == index


async def test_set_if_absent(v2: V2, root: str) -> None:
    """`previous_exist=False` is a create."""
    assert (await v2.set(root, "1", previous_exist=False)).action == "create"
    with pytest.raises(KeyExists):
        await v2.set(root, "2", previous_exist=False)


async def test_swap_by_existence(v2: V2, root: str) -> None:
    """What is expected may also be that the key is there, or that it is not; what contradicts itself is not sent."""
    with pytest.raises(KeyNotFound):
        await v2.compare_and_swap(root, "0", previous_exist=True)
    made = (await v2.compare_and_swap(root, "1", previous_exist=False)).the_node
    with pytest.raises(KeyExists):
        await v2.compare_and_swap(root, "never", previous_exist=False)
    second = (await v2.compare_and_swap(root, "2", previous_exist=True)).the_node
    third = (await v2.compare_and_swap(root, "3", previous_value="2", previous_exist=True)).the_node
    assert [node.created_index for node in (second, third)] == [made.created_index] * 2
    with pytest.raises(CompareFailed):
        await v2.compare_and_swap(root, "never", previous_index=made.modified_index, previous_exist=True)
    with pytest.raises(ValueError, match="previous_exist"):
        await v2.compare_and_swap(root, "never", previous_value="3", previous_exist=False)
    assert (await v2.get(root)).the_node.value == "3"


async def test_compare_and_swap_with_a_ttl(v2: V2, root: str) -> None:
    """A swap sets an expiry, and one without takes it away, the creation index as it was."""
    made = (await v2.set(root, "1")).the_node
    first = (await v2.compare_and_swap(root, "1", previous_index=made.modified_index, ttl=100)).the_node
    second = (await v2.compare_and_swap(root, "1", previous_index=first.modified_index)).the_node
    assert (first.ttl, second.ttl) == (100, None)
    assert made.created_index == first.created_index == second.created_index


@pytest.mark.parametrize("by", ["value", "index", "both"])
async def test_compare_and_delete(v2: V2, root: str, by: str) -> None:
    """By each comparison: what is not as expected stays, what is goes."""
    index = (await v2.set(root, "v")).the_node.modified_index
    right: dict[str, Any] = {"previous_value": "v", "previous_index": index}
    wrong: dict[str, Any] = {"previous_value": "w", "previous_index": index + 1}
    names = {"value": ["previous_value"], "index": ["previous_index"], "both": [*right]}[by]
    with pytest.raises(CompareFailed):
        await v2.compare_and_delete(root, **{name: wrong[name] for name in names})
    gone = await v2.compare_and_delete(root, **{name: right[name] for name in names})
    assert gone.action == "compareAndDelete"
    with pytest.raises(KeyNotFound):
        await v2.compare_and_delete(root, **{name: right[name] for name in names})


async def test_comparison_is_needed(v2: V2, root: str) -> None:
    """A compare-and-swap that compares nothing is not sent."""
    with pytest.raises(ValueError, match="previous_value"):
        await v2.compare_and_swap(root, "v")
    with pytest.raises(ValueError, match="previous_value"):
        await v2.compare_and_delete(root)


# Expiry


async def test_ttl_ends(v2: V2, root: str) -> None:
    """A key with a TTL says when it goes, and goes; a watch sees an expiry of its own kind."""
    made = (await v2.set(root, "v", ttl=1)).the_node
    assert (made.ttl, made.expiration is not None) == (1, True)
    gone = await v2.wait(root, wait_index=made.modified_index + 1, timeout=10)
    assert gone.prev_node is not None
    assert (gone.action, gone.prev_node.value, gone.the_node.key) == ("expire", "v", root)
    with pytest.raises(KeyNotFound):
        await v2.get(root)


@pytest.mark.parametrize("by", ["exist", "value", "index"])
async def test_refresh(v2: V2, root: str, by: str) -> None:
    """Value and creation index stay, the expiry moves, and no watch sees it."""
    made = (await v2.set(root, "v", ttl=100)).the_node
    ways: dict[str, dict[str, Any]] = {
        "exist": {},
        "value": {"previous_value": "v"},
        "index": {"previous_index": made.modified_index, "previous_exist": None},
    }
    fresh = (await v2.refresh(root, 500, **ways[by])).the_node
    assert (fresh.value, fresh.ttl, fresh.created_index) == ("v", 500, made.created_index)
    assert fresh.modified_index == made.modified_index + 1
    assert (await v2.get(root)).the_node == fresh
    await v2.set(root, "next")
    seen = await v2.wait(root, wait_index=made.modified_index + 1, timeout=10)
    assert (seen.action, seen.the_node.value) == ("set", "next")


async def test_refresh_that_is_repeated(v2: V2, root: str) -> None:
    """By existence or value a second one does no harm; by index it fails, so it is not sent twice."""
    made = (await v2.set(root, "v", ttl=100)).the_node
    for _ in range(2):
        assert (await v2.refresh(root, 200)).the_node.created_index == made.created_index
        assert (await v2.refresh(root, 200, previous_value="v")).the_node.created_index == made.created_index
    index = (await v2.get(root)).the_node.modified_index
    await v2.refresh(root, 200, previous_index=index)
    with pytest.raises(CompareFailed):
        await v2.refresh(root, 200, previous_index=index)


async def test_bare_refresh_makes_the_key_anew(v2: V2, root: str) -> None:
    """The trap that `previous_exist=True` is there for."""
    made = (await v2.set(root, "v", ttl=100)).the_node
    bare = (await v2.refresh(root, 200, previous_exist=None)).the_node
    assert bare.value == "v"
    assert bare.created_index > made.created_index


async def test_refresh_of_what_is_not_there(v2: V2, root: str) -> None:
    """Raises KeyNotFound, and makes nothing."""
    with pytest.raises(KeyNotFound):
        await v2.refresh(root, 5)
    with pytest.raises(KeyNotFound):
        await v2.get(root)


# Directories


async def test_mkdir(v2: V2, root: str) -> None:
    """A directory is empty at first, and is not made twice."""
    made = await v2.mkdir(root)
    assert (made.action, made.the_node.dir, made.the_node.value) == ("create", True, None)
    assert (await v2.get(root)).the_node.nodes == ()
    with pytest.raises(KeyExists):
        await v2.mkdir(root)


async def test_directory_in_the_place_of_a_key(v2: V2, root: str) -> None:
    """A key with a value gives way only where that is asked for."""
    await v2.set(root, "v")
    with pytest.raises(KeyExists):
        await v2.mkdir(root)
    assert (await v2.mkdir(root, previous_exist=None)).the_node.dir
    with pytest.raises(NotAFile):
        await v2.set(root, dir=True)


async def test_directory_with_a_ttl(v2: V2, root: str) -> None:
    """It goes with all that is in it."""
    made = (await v2.mkdir(root, ttl=1)).the_node
    await v2.set(f"{root}/k", "v")
    assert made.ttl == 1
    gone = await v2.wait(root, wait_index=made.modified_index + 2, timeout=10)
    assert (gone.action, gone.the_node.dir) == ("expire", True)
    with pytest.raises(KeyNotFound):
        await v2.get(f"{root}/k")


async def test_ttl_of_a_directory_changed(v2: V2, root: str, etcd: EtcdServer) -> None:
    """3.4 changes, refreshes and removes it; 3.5 can do none of these, and says so instead of an unknown outcome."""
    made = (await v2.mkdir(root, ttl=100)).the_node
    changes: tuple[Callable[[], Awaitable[KeysResponse]], ...] = (
        lambda: v2.mkdir(root, ttl=200, previous_exist=True),
        lambda: v2.refresh(root, 300),
        lambda: v2.mkdir(root, previous_exist=True),
    )
    if not etcd.binary.at_least(3, 5):
        nodes = [(await change()).the_node for change in changes]
        assert [node.ttl for node in nodes] == [200, 300, None]
        assert {node.created_index for node in nodes} == {made.created_index}
    else:
        for change in changes:
            with pytest.raises(NotAFile, match=r"etcd 3\.5 cannot change the TTL"):
                await change()
        ttl = (await v2.get(root)).the_node.ttl
        assert ttl is not None
        assert ttl <= 100


async def test_delete_of_directories(v2: V2, root: str) -> None:
    """As a key it is refused, as a directory where it is empty, and recursively always."""
    await v2.set(f"{root}/sub/k", "v")
    with pytest.raises(NotAFile):
        await v2.delete(root)
    with pytest.raises(DirectoryNotEmpty):
        await v2.delete(root, dir=True)
    await v2.delete(f"{root}/sub/k")
    assert (await v2.delete(f"{root}/sub", dir=True)).the_node.dir
    await v2.set(f"{root}/sub/k", "v")
    await v2.delete(root, recursive=True)
    with pytest.raises(KeyNotFound):
        await v2.get(root)


async def test_key_where_a_directory_stands_and_the_other_way_round(v2: V2, root: str) -> None:
    """Neither passes for the other."""
    await v2.set(f"{root}/k", "v")
    for write in (
        v2.set(root, "v"),
        v2.update(root, "v"),
        v2.compare_and_swap(root, "v", previous_index=1),
        v2.compare_and_delete(root, previous_index=1),
        v2.refresh(root, 5, previous_index=1),
    ):
        with pytest.raises(NotAFile):
            await write
    for below in (v2.set(f"{root}/k/x", "v"), v2.get(f"{root}/k/x"), v2.create_in_order(f"{root}/k", "v")):
        with pytest.raises(NotADirectory):
            await below


async def test_root_cannot_be_written(v2: V2) -> None:
    """Nor taken away."""
    for write in (v2.set("", "v"), v2.mkdir("/", previous_exist=None), v2.delete("/", recursive=True)):
        with pytest.raises(RootReadOnly):
            await write


# Waiting


async def test_wait_for_the_next_change(v2: V2, root: str) -> None:
    """Without an index, the first change after the wait began."""
    await v2.set(root, "before")
    await watched(v2, watchers=0)
    waiting = asyncio.create_task(v2.wait(root, timeout=10))
    await watched(v2)
    await v2.set(f"{root}-other", "x")
    made = await v2.set(root, "after")
    seen = await waiting
    assert (seen.the_node, seen.action) == (made.the_node, "set")
    assert seen.prev_node is not None
    assert seen.prev_node.value == "before"
    assert seen.index < made.index


async def test_wait_for_a_change_that_has_been(v2: V2, root: str) -> None:
    """From an index, the first change at it or later is answered at once."""
    first = await v2.set(root, "1")
    second = await v2.set(root, "2")
    assert (await v2.wait(root, wait_index=first.index, timeout=10)).the_node.value == "1"
    assert (await v2.wait(root, wait_index=first.index + 1, timeout=10)).the_node.value == "2"
    assert (await v2.wait(root, wait_index=first.index, timeout=10)).index == second.index


async def test_wait_below(v2: V2, root: str) -> None:
    """`recursive` sees what happens anywhere below, and else it is not seen."""
    made = await v2.set(f"{root}/a/b", "1")
    seen = await v2.wait(root, recursive=True, wait_index=made.index, timeout=10)
    assert seen.the_node.key == f"{root}/a/b"
    with pytest.raises(RequestTimeout):
        await v2.wait(root, wait_index=made.index, timeout=0.3)


async def test_wait_sees_a_parent_deleted(v2: V2, root: str) -> None:
    """What takes the directory away takes the key away."""
    made = await v2.set(f"{root}/a/b", "1")
    await v2.delete(root, recursive=True)
    gone = await v2.wait(f"{root}/a/b", wait_index=made.index + 1, timeout=10)
    assert (gone.action, gone.the_node.key) == ("delete", root)


async def test_wait_with_a_large_event(v2: V2, root: str) -> None:
    """An answer that comes in many pieces is read whole."""
    value = "x" * 1_000_000
    made = await v2.set(root, value)
    assert (await v2.wait(root, wait_index=made.index, timeout=10)).the_node.value == value
    await v2.delete(root)


async def test_wait_for_history_that_is_gone(v2: V2, root: str) -> None:
    """A server keeps 1,000 changes of all keys together, and says which is the first."""
    made = await v2.set(root, "v")
    await asyncio.gather(*(v2.set(f"{root}-other", "x", no_value_on_success=True) for _ in range(1001)))
    with pytest.raises(HistoryLost, match=r"v2 wait at http.*code 401") as caught:
        await v2.wait(root, wait_index=made.index, timeout=10)
    first = caught.value.first_available
    assert first == (await v2.get(root)).index - 999
    assert (await v2.wait(f"{root}-other", wait_index=first, timeout=10)).the_node.modified_index == first


async def test_wait_is_cancelled(v2: V2, root: str) -> None:
    """A cancel ends the wait at once, and the server forgets it."""
    await watched(v2, watchers=0)
    waiting = asyncio.create_task(v2.wait(root))
    await watched(v2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await watched(v2, watchers=0)


class EmptyPolls:
    """A channel whose first polls end without a change, as those of a server that shuts down do."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def send(self, request: Request, **_: object) -> Response:
        raise AssertionError(request)

    def stream(self, request: Request, **_: object) -> AbstractAsyncContextManager[Any]:
        self.paths.append(request.path)
        return self._poll(b"" if len(self.paths) < 3 else b'{"action":"set","node":{"key":"/k","value":"v"}}')

    @asynccontextmanager
    async def _poll(self, body: bytes) -> AsyncIterator[Any]:
        class Stream:
            peer = "http://p"
            status = 200
            headers = {"X-Etcd-Index": "7"}  # noqa: RUF012
            chunks = iter([body[:5], body[5:]] if body else [])

            async def read(self) -> bytes:
                return next(self.chunks, b"")

        yield Stream()


@pytest.mark.parametrize(("asked", "then"), [(None, 8), (5, 5)])
async def test_empty_poll_is_repeated(monkeypatch: pytest.MonkeyPatch, asked: int | None, then: int) -> None:
    """It goes on where the first poll began, so that a change between two of them is not lost."""
    monkeypatch.setattr("aetcd.etcd.v2._keys.EMPTY_POLL_PAUSE", 0)
    channel = EmptyPolls()
    seen = await V2(channel).wait("k", wait_index=asked)  # type: ignore[arg-type]
    assert seen.the_node.value == "v"
    first = "/v2/keys/k?wait=true" + ("" if asked is None else f"&waitIndex={asked}")
    assert channel.paths == [first] + [f"/v2/keys/k?wait=true&waitIndex={then}"] * 2


async def watched(v2: V2, *, watchers: int = 1) -> None:
    """Until the server counts so many waits."""
    async with asyncio.timeout(10):
        while (await v2.stats.store()).watchers != watchers:
            await asyncio.sleep(0.01)
