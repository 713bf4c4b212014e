"""The whole answer of every call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import aetcd

Call = Callable[[aetcd.Client], Awaitable[Any]]

WITHOUT_ANSWER = {"open", "aclose"}


async def wait_for_next(client: aetcd.Client) -> Any:
    """`wait`, from a revision that is there already."""
    first = await client.set("key", "new", full=True)
    return await client.wait("key", since=first.node.modified_revision, full=True)


# One call of each, on a key that holds "old", and what it answers: action, value now, value before.
CALLS: dict[str, tuple[Call, str, str | None, str | None]] = {
    "get": (lambda client: client.get("key", full=True), "get", "old", None),
    "exists": (lambda client: client.exists("key", full=True), "get", "old", None),
    "ttl": (lambda client: client.ttl("key", full=True), "get", "old", None),
    "set": (lambda client: client.set("key", "new", full=True), "set", "new", "old"),
    "create": (lambda client: client.create("fresh", "new", full=True), "create", "new", None),
    "update": (lambda client: client.update("key", "new", full=True), "update", "new", "old"),
    "compare_and_swap": (
        lambda client: client.compare_and_swap("key", "new", previous_value="old", full=True),
        "compareAndSwap",
        "new",
        "old",
    ),
    "compare_and_delete": (
        lambda client: client.compare_and_delete("key", previous_value="old", full=True),
        "compareAndDelete",
        None,
        "old",
    ),
    "delete": (lambda client: client.delete("key", full=True), "delete", None, "old"),
    "refresh": (lambda client: client.refresh("key", ttl=30, full=True), "update", "old", "old"),
    "wait": (wait_for_next, "put", "new", "old"),
    "ls": (lambda client: client.ls("dir", full=True), "get", None, None),
    "tree": (lambda client: client.tree("dir", full=True), "get", None, None),
    "mkdir": (lambda client: client.mkdir("made", full=True), "create", None, None),
    "rmdir": (lambda client: client.rmdir("dir", recursive=True, full=True), "delete", None, None),
}

KEYS = {"create": "fresh", "ls": "dir", "tree": "dir", "mkdir": "made", "rmdir": "dir"}


def test_no_call_was_forgotten() -> None:
    """Every public call of the client that waits is in the table, and takes `full=`."""
    waiting = {
        name: call
        for name, call in inspect.getmembers(aetcd.Client, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert waiting.keys() - WITHOUT_ANSWER == CALLS.keys()
    for name in CALLS:
        parameters = inspect.signature(waiting[name]).parameters
        assert {"full", "timeout"} <= parameters.keys(), name
        assert parameters["full"].default is False, name


@pytest.mark.parametrize("name", CALLS)
async def test_the_whole_answer(client: aetcd.Client, protocol: str, name: str) -> None:
    """`full=True` answers what was done, the key as it stands, what stood before, and at which revision."""
    call, action, value, before = CALLS[name]
    key = KEYS.get(name, "key")
    await client.set("dir/inside", "x")
    old = await client.set("key", "old", full=True)
    if name == "mkdir" and protocol == "v3":
        with pytest.raises(aetcd.Unsupported):
            await call(client)
        return

    result = await call(client)

    assert isinstance(result, aetcd.Result)
    assert (result.action, result.node.key, result.node.value) == (action, key, value)
    assert result.revision >= old.revision > 0
    previous = None if result.previous is None or result.previous.is_directory else result.previous
    assert (previous and previous.value) == before
    if previous is not None:
        assert previous.key == key
        assert previous.modified_revision <= result.node.modified_revision

    shown = result.as_dict()
    assert shown["action"] == action
    assert shown["node"]["key"] == f"/{key}"
    assert shown["node"].get("value") == value
    assert ("prevNode" in shown) is (result.previous is not None)


@pytest.mark.parametrize("name", CALLS)
async def test_the_short_answer(client: aetcd.Client, protocol: str, name: str) -> None:
    """Without `full=` a write answers None, and nothing answers a Result."""
    if name == "mkdir" and protocol == "v3":
        with pytest.raises(aetcd.Unsupported):
            await client.mkdir("made")
        return
    await client.set("dir/inside", "x")
    written = await client.set("key", "old", full=True)
    short: dict[str, tuple[Call, Any]] = {
        "get": (lambda client: client.get("key"), "old"),
        "exists": (lambda client: client.exists("key"), True),
        "ttl": (lambda client: client.ttl("key"), None),
        "set": (lambda client: client.set("key", "new"), None),
        "create": (lambda client: client.create("fresh", "new"), None),
        "update": (lambda client: client.update("key", "new"), None),
        "compare_and_swap": (lambda client: client.compare_and_swap("key", "new", previous_value="old"), None),
        "compare_and_delete": (lambda client: client.compare_and_delete("key", previous_value="old"), None),
        "delete": (lambda client: client.delete("key"), None),
        "refresh": (lambda client: client.refresh("key", ttl=30), None),
        "mkdir": (lambda client: client.mkdir("made"), None),
        "rmdir": (lambda client: client.rmdir("dir", recursive=True), None),
    }
    if name in short:
        call, answer = short[name]
        assert await call(client) == answer
    elif name == "wait":
        change = await client.wait("key", since=written.node.modified_revision)
        assert isinstance(change, aetcd.Change)
        assert (change.kind, change.key, change.value) == ("put", "key", "old")
    elif name == "ls":
        assert [node.key for node in await client.ls("dir")] == ["dir/inside"]
    else:
        tree = await client.tree("dir")
        assert isinstance(tree, aetcd.Node)
        assert tree.key == "dir"


async def test_revisions_of_a_node(client: aetcd.Client, protocol: str) -> None:
    """When it was created, when it was written last, and on v3 how often."""
    await client.create("key", "1")
    created = await client.get("key", full=True)
    await client.update("key", "2")
    updated = await client.compare_and_swap("key", "3", previous_value="2", full=True)
    read = await client.get("key", full=True)
    assert created is not None
    assert read is not None
    assert created.node.created_revision == created.node.modified_revision > 0
    assert read.node.created_revision == updated.node.created_revision == created.node.created_revision
    assert read.node.modified_revision == updated.node.modified_revision > created.node.modified_revision
    assert read.node.version == updated.node.version == (3 if protocol == "v3" else None)
    assert read.revision >= read.node.modified_revision
    assert (read.node.is_directory, read.node.nodes, read.node.ttl) == (False, None, None)


async def test_answers_of_writes_agree_with_reads(client: aetcd.Client) -> None:
    """The node that a write tells is the one that a read then finds."""
    revisions: list[int] = []
    for write in (
        lambda: client.create("key", "1", full=True),
        lambda: client.set("key", "2", full=True),
        lambda: client.update("key", "3", full=True),
        lambda: client.compare_and_swap("key", "4", previous_value="3", full=True),
        lambda: client.refresh("key", ttl=100, full=True),
        lambda: client.refresh("key", ttl=False, full=True),
    ):
        told = await write()
        found = await client.get("key", full=True)
        assert found is not None
        told_node, node = told.node, found.node
        assert (told_node.key, told_node.raw, told_node.version, told_node.lease) == (
            node.key,
            node.raw,
            node.version,
            node.lease,
        )
        assert (told_node.created_revision, told_node.modified_revision) == (
            node.created_revision,
            node.modified_revision,
        )
        assert (told_node.ttl is None) is (node.ttl is None)
        revisions.append(node.modified_revision)
    assert revisions == sorted(set(revisions))


async def test_deletions_carry_what_they_took(client: aetcd.Client) -> None:
    """`previous` is what stood there, on both protocols; the node is the key with the deletion's revision."""
    written = await client.set("key", "old", ttl=100, full=True)
    result = await client.delete("key", full=True)
    assert result.previous is not None
    assert (result.previous.key, result.previous.value) == ("key", "old")
    assert result.previous.modified_revision == written.node.modified_revision
    assert result.node.modified_revision > written.node.modified_revision
    assert (result.node.value, result.node.raw) == (None, None)


async def test_shape_of_the_reference(client: aetcd.Client) -> None:
    """`as_dict()` is what users of etcd's v2 clients know."""
    first = (await client.set("message", "Hello World", full=True)).as_dict()
    assert first["action"] == "set"
    assert first["node"] == {
        "key": "/message",
        "value": "Hello World",
        "createdIndex": first["node"]["createdIndex"],
        "modifiedIndex": first["node"]["createdIndex"],
    }
    second = (await client.set("message", "bye", ttl=50, full=True)).as_dict()
    assert second["prevNode"] == first["node"]
    assert 45 < second["node"]["ttl"] <= 50
    await client.set("dir/sub/key", 1)
    root = (await client.tree("", full=True)).as_dict()["node"]
    assert (root["key"], root["dir"], [node["key"] for node in root["nodes"]]) == ("/", True, ["/dir", "/message"])
    directory = (await client.tree("dir", full=True, type=int)).as_dict()["node"]
    (sub,) = directory["nodes"]
    (key,) = sub["nodes"]
    assert (directory["key"], sub["key"], key["key"], key["value"]) == ("/dir", "/dir/sub", "/dir/sub/key", 1)


async def test_what_is_shown_of_answers(client: aetcd.Client) -> None:
    """A person who prints them sees key, value and revision, and not all of a large value."""
    result = await client.set("key", "x" * 10_000, full=True)
    assert f"'key' = '{'x' * 40}'... at revision {result.node.modified_revision}" in repr(result.node)
    assert len(repr(result)) < 300
    async with asyncio.timeout(10), client.watch("key") as changes:
        await client.set("key", b"short")
        await client.delete("key")
        assert "put 'key' = 'short' at revision" in repr(await anext(changes))
        assert "delete 'key' at revision" in repr(await anext(changes))
    await client.set("dir/a", "")
    assert "directory of 1" in repr((await client.ls("dir", full=True)).node)
